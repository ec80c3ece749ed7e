"""Smoothness of a schedule and the largest deviation of the iterate."""

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

#: Steps of a run; the limit 2/λ for λ = 1; the variance of the gradient noise.
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
#: Sets of schedules by name: the smallest and the largest peak.
PEAKS: Mapping[str, tuple[float, float]] = {
    "peaks from half to twice 2/λ": (1.0, 4.0),
    "all peaks 0.75 x 2/λ": (1.5, 1.5),
    "all peaks 1.5 x 2/λ": (3.0, 3.0),
}


def flat_is_stable(
    *,
    peaks: Mapping[str, tuple[float, float]] = PEAKS,
    given_peak: bool = True,
    schedules: int = 600,
    seed: int = 0,
) -> Finding:
    """Correlate measures of smoothness with the largest deviation of the iterate.

    The chapter: schedules of lower F have a smaller largest deviation. Among schedules of all
    peaks this is weakly true, but only because F grows with the peak, and the peak explains nearly
    everything. At a given peak the relation is reversed, because schedules with a large F leave
    the high rates early; below 2/λ the deviations then differ by only a few per cent. So no
    measure of smoothness predicts stability; the peak and the number of steps above 2/λ do.
    Measured on random members of the schedule family; other sets have other numbers.

    The deviation is √max_t E[θ_t²] of gradient descent with additive noise on ½θ², starting at the
    minimum. The moments are exact, so only the schedules are random. A case is true if the 95 %
    interval of Spearman's correlation with F lies above 0; with `given_peak` it is the partial
    correlation given the peak. Source of the limit 2/λ: Cohen et al. 2021, arXiv 2103.00065.

    Args:
        peaks: smallest and largest peak of each set, by name; peaks are drawn log-uniformly.
        given_peak: True to remove the effect of the peak, as a fair comparison requires.
        schedules: number of schedules per set.
        seed: seed of the schedules.
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
            sets[f"{name}, only those below 2/λ"] = stable
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
                    variants[f"{question}, ignoring the peak"] = plain[0] > 0
                    question += ", given the peak"
            cases[question] = fair[0] > 0
            others = [value for measure, value in found.items() if measure not in MEASURES]
            if others:
                other = "the peak" if "peak" in found else "the number of steps above 2/λ"
                question = f"a measure of smoothness ranks set {len(cases)} better than {other}"
                variants[question] = max(found[m] for m in MEASURES) > max(others)
        panels.append(_panel(name, rates, deviation, stable))
    return Finding(cases=cases, figures=figures, panels=tuple(panels), variants=variants)


def _short(measure: str) -> str:
    return measure.replace(" ", "_").replace("-", "_").replace("2/λ", "limit")


def _random_rates(count: int, low: float, high: float, rng: np.random.Generator) -> Curve:
    """Return the rates of random members of the family, shape `[count, UPDATES]`."""
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
    """Return √max_t E[θ_t²] for rates of shape `[N, T]`, shape `[N]`.

    The recursion is A ← (1-η)²A + η²·noise with A(0) = 0. With peaks up to twice the limit A stays
    below 9²⁰⁰ ≈ 10¹⁹¹, far from overflow.
    """
    moment = largest = np.zeros(len(rates))
    for rate in rates.T:
        moment = (1 - rate) ** 2 * moment + rate**2 * NOISE
        largest = np.maximum(largest, moment)
    return np.sqrt(largest)


def _correlations(rates: Curve, deviation: Curve) -> dict[str, float]:
    """Return Spearman's correlation with the deviation for every measure that is not constant."""
    from scipy import stats  # importing it takes 1 s

    columns = {name: np.array([m(row) for row in rates]) for name, m in RANKED.items()}
    return {
        name: float(stats.spearmanr(values, deviation).statistic)
        for name, values in columns.items()
        if np.ptp(values) > 1e-9
    }


def _partial(rates: Curve, deviation: Curve) -> float:
    """Return Spearman's partial correlation of F with the deviation, given the peak."""
    from scipy import stats  # importing it takes 1 s

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
