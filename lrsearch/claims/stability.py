"""Does a smooth schedule keep the iterate near?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lrsearch.claims.interval import Interval, rank_interval
from lrsearch.claims.smoothness import MEASURES
from lrsearch.curves import Curve
from lrsearch.finding import Finding, Line, Panel
from lrsearch.schedule import Schedule
from lrsearch.seeding import stream
from lrsearch.variation import total_variation

#: Updates of a run; λ = 1, so the limit 2/λ is 2; variance of the gradient's noise.
UPDATES, LIMIT, NOISE = 200, 2.0, 0.01
DECAYS = (
    *("constant", "polynomial", "cosine", "step"),
    *("exponential", "power_law", "root", "rex"),
)

RANKED: Mapping[str, Callable[[Curve], float]] = {
    **MEASURES,
    "peak": lambda rates: float(rates.max()),
    "updates above 2/λ": lambda rates: float(np.sum(rates > LIMIT)),
}
#: Named sets of schedules: the least and the largest peak.
PEAKS: Mapping[str, tuple[float, float]] = {
    "peaks from half to twice 2/λ": (1.0, 4.0),
    "every peak 0.75 of 2/λ": (1.5, 1.5),
    "every peak 1.5 of 2/λ": (3.0, 3.0),
}


def flat_is_stable(
    *,
    peaks: Mapping[str, tuple[float, float]] = PEAKS,
    given_peak: bool = True,
    schedules: int = 600,
    seed: int = 0,
) -> Finding:
    """Rank correlation of measures of smoothness with the largest deviation of the iterate.

    The chapter: lower F goes with a smaller largest deviation. Among schedules of every peak it
    does, weakly, but only because F grows with the peak, which explains nearly everything. Given
    the peak it is the other way round, because schedules that vary much leave the high rates
    soon; below 2/λ the deviations then differ by a few per cent only. So no measure of smoothness
    predicts stability; the peak and the number of updates above 2/λ do. Measured on random members
    of the schedule family, so the numbers are those of this set.

    The deviation is √max_t E[θ_t²] of gradient descent with additive noise on ½θ², from the
    minimum on: exact moments, so that only the schedules are random. A case is true if the 95 %
    interval of Spearman's correlation of F, the partial one given the peak, lies above 0.
    Source of the limit 2/λ: Cohen et al. 2021, arXiv 2103.00065.

    Args:
        peaks: the least and the largest peak of every set, by its name; drawn log-uniformly.
        given_peak: whether the peak's share is taken out, as a fair comparison must.
        schedules: of every set.
        seed: of the schedules.
    """
    cases: dict[str, bool] = {}
    variants: dict[str, bool] = {}
    figures: dict[str, float | Interval] = {}
    panels = []
    for i, (name, (low, high)) in enumerate(peaks.items()):
        rates = _random_rates(schedules, low, high, stream(seed, "schedules", i))
        deviation = _largest_deviation(rates)
        sets = {name: np.ones(schedules, dtype=bool)}
        stable = rates.max(axis=1) < LIMIT
        if low < LIMIT < high:
            sets[f"{name}, of these the ones below it"] = stable
        for words, chosen in sets.items():
            key = f"set_{len(cases) + 1}"
            found = _correlations(rates[chosen], deviation[chosen])
            figures |= {f"{key}_{_short(measure)}": value for measure, value in found.items()}
            plain = rank_interval(found["F"], int(chosen.sum()))
            fair, question = plain, f"{words} (set {len(cases) + 1})"
            figures[f"{key}_F_interval"] = plain
            if given_peak:
                partial = _partial(rates[chosen], deviation[chosen])
                fair = rank_interval(partial, int(chosen.sum()) - 1)
                figures |= {f"{key}_F_given_peak": partial, f"{key}_F_given_peak_interval": fair}
                if "peak" in found:
                    variants[f"{question}, whatever the peak"] = plain[0] > 0
                    question += ", given the peak"
            cases[question] = fair[0] > 0
            others = [value for measure, value in found.items() if measure not in MEASURES]
            if others:
                other = "the peak does" if "peak" in found else "the updates above 2/λ do"
                question = f"a measure of smoothness ranks set {len(cases)} better than {other}"
                variants[question] = max(found[m] for m in MEASURES) > max(others)
        panels.append(_panel(name, rates, deviation, stable))
    return Finding(cases=cases, figures=figures, panels=tuple(panels), variants=variants)


def _short(measure: str) -> str:
    return measure.replace(" ", "_").replace("-", "_").replace("2/λ", "limit")


def _random_rates(count: int, low: float, high: float, rng: np.random.Generator) -> Curve:
    """Rates of random members of the family, shape `[count, UPDATES]`."""
    schedules = [
        Schedule(
            peak=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
            warmup=float(rng.uniform(0, 0.3)),
            decay=str(rng.choice(DECAYS)),
            power=float(rng.uniform(0.5, 2)),
            rate=float(rng.uniform(1, 6)),
            bend=float(rng.uniform(0.2, 1)),
            drops=int(rng.integers(1, 5)),
            gamma=float(rng.uniform(0.1, 0.7)),
            cycles=int(rng.integers(1, 6)),
            floor=float(rng.uniform(0, 0.2)),
        )
        for _ in range(count)
    ]
    return np.array([schedule.plan(UPDATES).lr for schedule in schedules])


def _largest_deviation(rates: Curve) -> Curve:
    """√max_t E[θ_t²] for rates of shape `[N, T]`, shape `[N]`: A ← (1-η)²A + η²·noise, A(0) = 0.

    With peaks up to twice the limit A stays below 9²⁰⁰ ≈ 10¹⁹¹, far from overflow.
    """
    moment = largest = np.zeros(len(rates))
    for rate in rates.T:
        moment = (1 - rate) ** 2 * moment + rate**2 * NOISE
        largest = np.maximum(largest, moment)
    return np.sqrt(largest)


def _correlations(rates: Curve, deviation: Curve) -> dict[str, float]:
    """Spearman's correlation of every measure that differs at all with the deviation."""
    from scipy import stats  # 1 s of import

    columns = {name: np.array([m(row) for row in rates]) for name, m in RANKED.items()}
    return {
        name: float(stats.spearmanr(values, deviation).statistic)
        for name, values in columns.items()
        if np.ptp(values) > 1e-9
    }


def _partial(rates: Curve, deviation: Curve) -> float:
    """Spearman's partial correlation of F with the deviation, the peak held fixed."""
    from scipy import stats  # 1 s of import

    f, peak = np.array([total_variation(row) for row in rates]), rates.max(axis=1)
    if np.ptp(peak) < 1e-9:
        return float(stats.spearmanr(f, deviation).statistic)
    with_deviation, with_peak, peak_alone = (
        float(stats.spearmanr(a, b).statistic)
        for a, b in ((f, deviation), (f, peak), (peak, deviation))
    )
    rest = (1 - with_peak**2) * (1 - peak_alone**2)
    return (with_deviation - with_peak * peak_alone) / math.sqrt(rest)


def _panel(name: str, rates: Curve, deviation: Curve, stable: np.ndarray) -> Panel:
    f = np.array([total_variation(row) for row in rates])
    lines = tuple(
        Line(label=label, x=tuple(f[chosen]), y=tuple(deviation[chosen]), style="points")
        for label, chosen in (("peak below 2/λ", stable), ("peak above 2/λ", ~stable))
        if chosen.any()
    )
    return Panel(
        title=name,
        x="F",
        y="largest deviation",
        lines=lines,
        log_y=bool(deviation.max() > 10 * deviation.min()),
    )
