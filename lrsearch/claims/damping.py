"""Critical damping of momentum: at constant momentum, and while the momentum increases."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.claims.chapter import both_ends, check_names
from lrsearch.curves import Curve
from lrsearch.finding import Finding, Line, Panel
from lrsearch.theory import critical_rate

METHODS = {"nesterov": "Nesterov", "heavy_ball": "heavy ball"}
FORMS = ("classical", "torch")
#: Long enough for the slowest oscillation to detect: half a period, π/angle, is below 10⁴ steps.
UPDATES = 12_000
#: Rates to try, as multiples of the formula's rate.
FACTORS = np.linspace(0.9, 1.1, 41)
#: Largest relative error at which the formula counts as confirmed. A convention.
NEAR = 0.011


def critical_damping(
    *,
    momenta: Sequence[float] = (0.5, 0.9, 0.99),
    curvature: float = 2.0,
    spreads: Sequence[float] = (1.0, 10.0),
) -> Finding:
    """Find the largest rate without oscillation at constant momentum, by iterating.

    The chapter: η = ((1-μ)/(1+μ))²/λ for Nesterov, (1-√μ)²/λ for the heavy ball. This is true for
    constant μ and one eigenvalue: there the roots of the characteristic polynomial coincide. The
    formula gives the fastest setting without oscillation, but not the fastest setting: Nesterov's
    spectral radius is smaller still at larger rates. With a second, larger eigenvalue, the rate
    set by the smaller eigenvalue oscillates. Proved; no randomness.
    Source: O'Donoghue & Candès 2015, arXiv 1204.3982.

    Args:
        momenta: μ in (0, 1).
        curvature: λ that sets the rate.
        spreads: factors s; the mode of curvature s·λ is observed. With 1 it is the same mode.

    Raises:
        RequestError: a number is out of range.
    """
    cases: dict[str, bool] = {}
    figures: dict[str, float | tuple[float, float]] = {}
    lines = []
    for spread, method, mu in itertools.product(spreads, METHODS, momenta):
        Bound(low=0, open_low=True).check("spread", spread)
        law = critical_rate(method, mu, curvature)
        row = _sign_changes(method, mu, law * FACTORS, curvature * spread)
        found = max(FACTORS[np.cumsum(row > 0) == 0], default=0.0)
        words, key = f"{METHODS[method]}, μ = {mu:g}", f"{method}_{mu:g}"
        modes = "one eigenvalue" if spread == 1 else f"a second eigenvalue {spread:g}λ"
        cases[f"{words}, {modes}"] = abs(found - 1) < NEAR
        if spread == spreads[0]:
            figures |= {f"formula_{key}": law, f"measured_over_formula_{key}": found}
            lines.append(Line(label=words, x=tuple(FACTORS), y=tuple(row)))
    critical, larger = (_nesterov_radius(momenta[0], curvature, f) for f in (1.0, 1.5))
    figures |= {
        "spectral_radius_nesterov_critical": critical,
        "spectral_radius_nesterov_half_more": larger,
    }
    slower = f"Nesterov, μ = {momenta[0]:g}: 1.5 times the critical rate is slower"
    panel = Panel(
        title="oscillation starts at the formula's rate",
        x="rate / formula",
        y="sign changes",
        lines=tuple(lines),
    )
    return Finding(
        cases=cases, figures=figures, panels=(panel,), variants={slower: critical < larger}
    )


def _sign_changes(method: str, momentum: float, rates: Curve, curvature: float) -> Curve:
    """Return how often θ changes sign at each constant rate, starting at θ = 1 with velocity 0."""
    pull = rates * curvature
    theta, before = np.ones_like(rates), np.ones_like(rates)
    changes = np.zeros_like(rates)
    for _ in range(UPDATES):
        point = theta + momentum * (theta - before)
        before, theta = theta, point - pull * (point if method == "nesterov" else theta)
        changes += theta * before < 0
    return changes


def _nesterov_radius(momentum: float, curvature: float, factor: float) -> float:
    """Return the spectral radius at a multiple of the critical rate; smaller is faster."""
    keep = 1 - factor * critical_rate("nesterov", momentum, curvature) * curvature
    step = np.array([[(1 + momentum) * keep, -momentum * keep], [1.0, 0.0]])
    return float(np.abs(np.linalg.eigvals(step)).max())


def critical_ramp(
    *,
    forms: Sequence[str] = FORMS,
    lengths: Sequence[int] = (50, 100, 300),
    momenta: tuple[float, float] = (0.5, 0.99),
) -> Finding:
    """Test if the critical rate still prevents oscillation while the momentum increases.

    The chapter: it does. This is true in torch's form (θ ← θ - ηv): a falling rate also reduces
    the effect of the velocity that has accumulated. In the classical form (θ ← θ + v) the velocity
    from earlier, larger rates persists, and θ overshoots. Critical damping is proved only for a
    constant rate. Measured on Nesterov's method with λ = 1; μ rises linearly, both ends included.
    Source of the ramp, in the classical form: Sutskever et al. 2013.

    Args:
        forms: `classical`, `torch` or both.
        lengths: numbers of steps of the runs.
        momenta: the first and the last μ.

    Raises:
        RequestError: a form is unknown or a momentum is out of range.
    """
    cases: dict[str, bool] = {}
    figures: dict[str, float | tuple[float, float]] = {}
    panels = []
    check_names("form", forms, FORMS)
    for form in forms:
        words = "classical form" if form == "classical" else "torch's form"
        paths = {updates: _ramped(form, momenta, updates) for updates in lengths}
        swings = {n: sum(a * b < 0 for a, b in itertools.pairwise(p)) for n, p in paths.items()}
        for updates, path in paths.items():
            figures[f"sign_changes_{form}_{updates}"] = swings[updates]
            figures[f"lowest_{form}_{updates}"] = min(path)
        cases[f"{words}, μ from {momenta[0]:g} to {momenta[1]:g}"] = not any(swings.values())
        panels.append(
            Panel(
                title=words,
                x="t/T",
                y="|θ|",
                lines=tuple(
                    Line(label=f"T = {n}", x=tuple(np.arange(n + 1) / n), y=tuple(np.abs(path)))
                    for n, path in paths.items()
                ),
                log_y=True,
            )
        )
    return Finding(cases=cases, figures=figures, panels=tuple(panels))


def _ramped(form: str, momenta: tuple[float, float], updates: int) -> list[float]:
    """Return θ on ½θ² before every step and after the last, starting at 1 with velocity 0."""
    theta, velocity, path = 1.0, 0.0, [1.0]
    for mu in (momenta[0] + (momenta[1] - momenta[0]) * both_ends(updates)).tolist():
        rate = critical_rate("nesterov", mu, 1.0)
        if form == "classical":
            velocity = mu * velocity - rate * (theta + mu * velocity)
            theta += velocity
        else:
            velocity = mu * velocity + theta
            theta -= rate * (theta + mu * velocity)
        path.append(theta)
    return path
