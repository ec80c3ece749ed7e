"""Final loss under a decaying rate, compared with a constant rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrsearch.claims.chapter import check_names, draw
from lrsearch.finding import Finding, Line, Panel
from lrsearch.optimum import best_rates
from lrsearch.plan import Plan
from lrsearch.quadratic import expected_loss, lr_ref, noisy_quadratic
from lrsearch.schedule import Schedule
from lrsearch.theory import stationary_variance

NOISES = ("additive", "multiplicative")
#: The problem of the chapter: h = 1/i for 100 modes; all schedules have this peak and batch.
MODES, BATCH, PEAK = 100, 4, 0.1
#: Steps on the reference least-squares problem.
UPDATES = 200
#: A plateau counts as reached below this relative distance. A convention.
NEAR = 0.05
DECAYS = {"linear": "polynomial", "cosine": "cosine"}


def decay_beats_constant(
    *,
    noises: Sequence[str] = NOISES,
    lengths: Sequence[int] = (20_000, 1_000),
    decays: Sequence[str] = tuple(DECAYS),
) -> Finding:
    """Compare decaying rates with a constant one by the exact expected loss on quadratics.

    The chapter: with the same noise for every schedule, a constant rate plateaus and decaying
    rates end lower. This is true under additive noise if the run is long enough for the constant
    rate to reach its plateau. In a shorter run a decaying rate only makes progress slower. Under
    multiplicative noise, which vanishes at the optimum, a constant rate has no plateau and ends
    lower than the cosine, even with the best peak for each (Naganuma et al. 2026, arXiv
    2603.10301). The model of additive noise is Zhang et al. 2019, arXiv 1907.04164. No randomness.

    Args:
        noises: kinds of noise to test, `additive` and `multiplicative`.
        lengths: numbers of steps of the runs under additive noise.
        decays: decays to compare with the constant rate, `linear` and `cosine`.

    Raises:
        RequestError: a name is unknown.
    """
    check_names("noise", noises, NOISES)
    check_names("decay", decays, DECAYS)
    cases: dict[str, bool] = {}
    figures: dict[str, float | tuple[float, float]] = {}
    panels: list[Panel] = []
    if "additive" in noises:
        panels += [_additive(updates, decays, cases, figures) for updates in lengths]
    if "multiplicative" in noises:
        panels += [_multiplicative(decays, cases, figures)]
    return Finding(cases=cases, figures=figures, panels=tuple(panels))


def _additive(
    updates: int,
    decays: Sequence[str],
    cases: dict[str, bool],
    figures: dict[str, float | tuple[float, float]],
) -> Panel:
    """Run all schedules for one length under additive noise; add to `cases` and `figures`."""
    problem = noisy_quadratic(MODES)
    names = ("constant", *decays)
    batch, momentum = np.full(updates, BATCH), np.zeros(updates)
    plans = [Plan(draw(name, updates, PEAK, 0.0), batch, momentum) for name in names]
    curves = dict(zip(names, expected_loss(problem, plans), strict=True))
    modes = problem.curvature.tolist()
    plateau = 0.5 * sum(h * stationary_variance(PEAK, h, math.sqrt(h / BATCH)) for h in modes)
    near = abs(curves["constant"][-1] / plateau - 1) < NEAR
    state = "plateau reached" if near else "plateau not reached"
    figures["plateau"] = plateau
    for name, curve in curves.items():
        figures[f"additive_{updates}_{name}"] = float(curve[-1])
        if name != "constant":
            cases[f"additive noise, {updates} steps, {state}: {name} decay"] = bool(
                curve[-1] < curves["constant"][-1]
            )
    thin = np.unique(np.geomspace(1, updates, 200).astype(int))
    return Panel(
        title=f"additive noise, {updates} steps",
        x="step",
        y="expected loss",
        lines=tuple(Line(label=n, x=tuple(thin), y=tuple(c[thin])) for n, c in curves.items()),
        log_x=True,
        log_y=True,
    )


def _multiplicative(
    decays: Sequence[str],
    cases: dict[str, bool],
    figures: dict[str, float | tuple[float, float]],
) -> Panel:
    """Run each schedule with its best peak on the reference least-squares problem.

    256 modes, batch 4, 200 steps. Losses are ratios to the best possible loss. The rates are those
    of `Schedule.plan`, at x = t/T.
    """
    problem = lr_ref()
    _, optimum = best_rates(problem, np.full(UPDATES, BATCH))
    shapes = {"constant": "constant", **{name: DECAYS[name] for name in decays}}
    figures["optimum"] = optimum
    peaks = np.geomspace(0.03, 1.0, 60) * problem.largest_rate
    lines, best = [], {}
    for name, shape in shapes.items():
        near, schedule = peaks, Schedule(peak=1.0, decay=shape)
        for _ in range(2):  # a grid, then a finer one around its best peak
            plans = [schedule.replace(peak=float(peak)).plan(UPDATES, BATCH) for peak in near]
            ends = np.array([curve[-1] for curve in expected_loss(problem, plans)])
            if near is peaks:
                kept = ends < 1.0
                lines.append(Line(label=name, x=tuple(peaks[kept]), y=tuple(ends[kept] / optimum)))
            near = near[int(np.argmin(ends))] * np.geomspace(0.93, 1.07, 40)
        best[name] = float(ends.min())
        figures[f"multiplicative_{name}_ratio"] = best[name] / optimum
    for name in decays:
        cases[f"multiplicative noise, {UPDATES} steps, best peaks: {name} decay"] = (
            best[name] < best["constant"]
        )
    return Panel(
        title=f"multiplicative noise, {UPDATES} steps",
        x="peak learning rate",
        y="loss / best possible loss",
        lines=tuple(lines),
        log_x=True,
    )
