"""Convergence of gradient descent to the max-margin direction under several schedules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.claims.chapter import draw
from lrsearch.curves import Curve
from lrsearch.finding import Finding, Line, Panel
from lrsearch.seeding import stream

UPDATES, POINTS = 100_000, 10
#: The angle counts as still falling if it falls by this fraction in the last nine tenths of the
#: run. A convention that separates slow (1/log of the sum of the rates) from stalled.
TURNING = 0.01


def margin(*, powers: Sequence[float] = (0.6, 1.0), rate: float = 1.0, seed: int = 0) -> Finding:
    """Measure the angle between the weights of logistic regression and the SVM's in 10⁵ steps.

    The chapter: with Ση = ∞ and Ση² < ∞, gradient descent on separable data turns to the
    max-margin direction. This is true but misleading. The angle falls as 1/log Ση (Soudry et al.
    2018, arXiv 1710.10345; for changing rates Nacson et al. 2019, arXiv 1803.01905). So a constant
    rate, which violates Ση² < ∞, turns faster. The rate t^-1 meets both conditions and hardly
    turns in a run of finite length. A finite run cannot prove a limit: the experiment measures if
    the angle is still falling.

    The data are two-dimensional. Each point is multiplied by its label, so the separating line
    passes through the origin; two of the points are the support vectors of direction (1, 0). The
    reference is `LinearSVC` without an intercept: an intercept would change the direction.

    Args:
        powers: α of the rates (t+1)^-α to test.
        rate: the first rate.
        seed: seed of the points behind the margin.

    Raises:
        RequestError: a number is out of range.
    """
    for power in powers:
        Bound(low=0).check("power", power)
    Bound(low=0, open_low=True).check("rate", rate)
    points = _points(seed)
    truth = _svm_direction(points)
    t = np.arange(1.0, UPDATES + 1)
    rates = {f"t^-{power:g}": rate * t**-power for power in powers}
    schedules = {
        **rates,
        "constant": draw("constant", UPDATES, rate, rate),
        "cosine": draw("cosine", UPDATES, rate, 0.0),
    }
    marks = np.unique(np.geomspace(10, UPDATES, 60).astype(int))
    angles = _angles(points, truth, np.stack(list(schedules.values()), axis=1), marks)
    rows = dict(zip(schedules, angles.T, strict=True))
    figures: dict[str, float | tuple[float, float]] = {
        "svm_margin": float((points @ truth).min()),
        "svm_angle_to_construction": _degrees(truth, np.array([1.0, 0.0])),
    }
    for name, row in rows.items():
        key = name.replace("^-", "_")
        figures[f"angle_{key}"] = float(row[-1])
        figures[f"sum_of_rates_{key}"] = float(schedules[name].sum())
    middle = int(np.searchsorted(marks, UPDATES // 10))
    turning = {name: bool(row[-1] < (1 - TURNING) * row[middle]) for name, row in rows.items()}
    cases = {f"rates {name}: the angle keeps falling": turning[name] for name in rates}
    variants = {
        "a constant rate, Ση² = ∞: the angle keeps falling": turning["constant"],
        "one of these rates turns faster than a constant one": bool(
            min(rows[name][-1] for name in rates) < rows["constant"][-1]
        ),
    }
    return Finding(
        cases=cases,
        figures=figures,
        panels=(
            Panel(
                title="angle to the max-margin direction",
                x="step",
                y="degrees",
                lines=tuple(
                    Line(label=n, x=tuple(marks), y=tuple(row)) for n, row in rows.items()
                ),
                log_x=True,
                log_y=True,
            ),
        ),
        variants=variants,
    )


def _points(seed: int) -> Curve:
    """Return points times their labels, shape `[POINTS, 2]`, with max-margin direction (1, 0)."""
    behind = stream(seed, "separable points").normal([2.0, 2.0], [0.3, 0.5], (POINTS - 2, 2))
    behind[:, 0] = np.maximum(behind[:, 0], 1.3)
    return np.vstack([[[1.0, 2.0], [1.0, -0.5]], behind])


def _svm_direction(points: Curve) -> Curve:
    """Return the unit normal of the hard-margin SVM through the origin, shape `[2]`."""
    from sklearn.svm import LinearSVC  # importing it takes 1.4 s

    machine = LinearSVC(
        fit_intercept=False, loss="hinge", C=1e6, max_iter=1_000_000, tol=1e-8, random_state=0
    )
    machine.fit(np.vstack([points, -points]), np.repeat([1, -1], len(points)))
    weights = np.asarray(machine.coef_[0], dtype=np.float64)
    return np.asarray(weights / np.linalg.norm(weights))


def _angles(points: Curve, truth: Curve, rates: Curve, marks: np.ndarray) -> Curve:
    """Return the degrees between weights and truth, shape `[marks, schedules]`.

    Args:
        points: points times their labels, shape `[n, 2]`.
        truth: the max-margin direction, shape `[2]`.
        rates: learning rates, shape `[T, schedules]`; all schedules are run together.
        marks: numbers of steps after which the angle is measured, increasing.
    """
    weights = np.zeros((rates.shape[1], 2))
    across, mean = points.T.copy(), points / len(points)
    wanted, found = set(marks.tolist()), []
    for k, rate in enumerate(rates[:, :, None], start=1):
        pull = 1 / (1 + np.exp(weights @ across))
        weights += rate * (pull @ mean)
        if k in wanted:
            found.append([_degrees(row, truth) for row in weights])
    return np.array(found)


def _degrees(a: Curve, b: Curve) -> float:
    """Return the angle between two vectors in the plane, from its tangent: exact near 0."""
    return float(np.degrees(np.arctan2(abs(a[0] * b[1] - a[1] * b[0]), a @ b)))
