"""The best peak of a shape whose value has noise: walk by factors of two, then fit a quadratic.

The value is close to a quadratic in the logarithm of the peak near its lowest. The peak of a shape
is the vertex of a fitted quadratic, never the peak with the lowest value: the lowest of several
noisy values is partly luck, and what it loses grows with their number (simulated in
`tests/bench/comparison.py`). The fit also says how much a better peak may still gain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrsearch.stats import mean

#: A peak and the value of one run with it; not finite if the run diverged.
Points = Sequence[tuple[float, float]]
#: The unit of the logarithm of the peak is a factor of three. Step of the walk: a factor of two.
UNIT, STEP = math.log(3), math.log(2) / math.log(3)
#: Runs before the peak is known, and most runs of a shape.
FEWEST, MOST = 5, 12
#: The peak is known if the expected gain of a better one is at most this share of the standard
#: error of the reported difference, a convention.
KNOWN = 0.1
#: Relative error of the quadratic at a value, as a share of its distance from the lowest value.
MISFIT = 0.15
#: Curvature below which a shape is flat, as a share of its largest value.
ROUNDING = 1e-12
#: A standard deviation with fewer degrees of freedom is multiplied by 1.5: it may be too low.
FEW, WIDER = 5, 1.5


@dataclass(frozen=True)
class PeakFit:
    """What a shape's runs say about its best peak.

    Attributes:
        peak: the best peak: the vertex of the quadratic, at most a factor of two from the peak
            with the lowest value.
        value: the value at this peak, at least the lowest measured mean: next to a cliff, where
            training becomes unstable, the quadratic is too low. Infinite if every run diverged.
        remainder: expected gain of the unknown best peak over this one, in units of the value.
        bend: coefficient of the square of the logarithm, in units of the value; 0 without a fit.
    """

    peak: float
    value: float
    remainder: float
    bend: float = 0.0


def pooled_noise(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups of values; None without degrees of freedom."""
    finite = [[v for v in group if math.isfinite(v)] for group in groups]
    scale = _scale([value for group in finite for value in group])
    kept = [np.asarray(group, dtype=np.float64) / scale for group in finite if len(group) > 1]
    freedom = sum(len(group) - 1 for group in kept)
    if not freedom:
        return None
    spread = math.sqrt(sum(float(((g - g.mean()) ** 2).sum()) for g in kept) / freedom)
    return scale * spread * (WIDER if freedom < FEW else 1.0)


def residual_noise(shapes: Sequence[Points]) -> float | None:
    """Return the standard deviation of values around fitted quadratics; None with too few runs."""
    squares, freedom = 0.0, 0
    scale = _scale([value for points in shapes for _, value in points])
    for points in shapes:
        u, y = _finite(points)
        y = y / scale
        if len(set(u.tolist())) < 3 or len(u) < 4:
            continue
        near = np.abs(u - u[y.argmin()]) <= 2 * STEP  # far away it is not a quadratic
        if near.sum() < 4 or len(set(u[near].tolist())) < 3:
            continue
        design = np.vander(u[near] - u[near].mean(), 3, increasing=True)
        rest = y[near] - design @ np.linalg.lstsq(design, y[near], rcond=None)[0]
        squares += float((rest**2).sum())
        freedom += int(near.sum()) - 3
    if not freedom:
        return None
    return scale * math.sqrt(squares / freedom) * (WIDER if freedom < FEW else 1.0)


def fit_peak(points: Points, noise: float) -> PeakFit:
    """Return the best peak of a shape.

    Args:
        points: runs of the shape, at least one.
        noise: standard deviation of a value between seeds.
    """
    u, y = _finite(points)
    if not len(u):
        return PeakFit(peak=min(peak for peak, _ in points), value=math.inf, remainder=noise)
    scale = _scale(y.tolist())
    y = y / scale
    places, means = _by_place(u, y)
    lost = [math.log(peak) / UNIT for peak, value in points if not math.isfinite(value)]
    clean = ~np.isin(places, lost)  # a peak at which some runs diverge is not the best one
    among = np.flatnonzero(clean) if clean.any() else np.arange(len(places))
    at_best = among[means[among].argmin()]
    best, lowest = float(places[at_best]), scale * float(means[at_best])
    if len(places) < 3:
        return PeakFit(peak=math.exp(best * UNIT), value=lowest, remainder=noise)
    # Without noise the lowest point would have an infinite weight.
    s = max(noise / scale, 1e-3 * float(np.ptp(y)), 1e-12)
    weights = np.exp(-0.5 * (u - best) ** 2) / (s**2 + (MISFIT * (y - y.min())) ** 2)
    design = np.vander(u - best, 3, increasing=True)
    covariance = np.linalg.pinv(design.T @ (weights[:, None] * design), hermitian=True)
    a, b, c = (float(x) for x in covariance @ (design.T @ (weights * y)))
    if not c > ROUNDING:
        return PeakFit(peak=math.exp(best * UNIT), value=lowest, remainder=noise)
    vertex = -b / (2 * c)
    slope = np.array([0.0, -1 / (2 * c), b / (2 * c * c)])  # of the vertex, by the delta method
    remainder = min(noise, scale * c * float(slope @ covariance @ slope))
    low, high = _allowed(lost, best)
    at = min(max(vertex, low - best), high - best)
    return PeakFit(
        peak=math.exp((best + at) * UNIT),
        value=max(lowest, scale * (a + b * at + c * at * at)),
        remainder=max(0.0, remainder),
        bend=scale * c,
    )


def next_peaks(
    runs: Points, known: Points, start: float, noise: float, goal: float, most: int
) -> list[float]:
    """Return the peaks at which to run a shape next; none if its peak is known.

    Args:
        runs: runs of the shape so far.
        known: values of the shape that the search has measured.
        start: peak at which the walk begins.
        noise: standard deviation of a value between seeds; 0 if it is not known yet.
        goal: remainder at which the peak is known.
        most: largest number of runs.

    Returns:
        three peaks at the beginning, then one.
    """
    left = most - len(runs)
    if left <= 0:
        return []
    if not runs:
        return [start, 2 * start, start / 2][:left]
    points = [*runs, *known]
    peaks = sorted({peak for peak, _ in points})
    ranked = sorted(peaks, key=lambda peak: (_mean_at(points, peak), peak))
    best = ranked[0]
    if best == peaks[-1] and math.isfinite(_mean_at(points, best)):
        return [2 * best]
    if best == peaks[0]:
        return [best / 2]
    found = fit_peak(points, noise)
    if len(points) >= FEWEST and found.remainder <= goal:
        return []
    if not found.bend:  # widen, on the better side
        return [2 * peaks[-1] if _ends(points, peaks) else peaks[0] / 2]
    apart = min(max(math.sqrt(2 * noise / found.bend), 0.5 * STEP), 1.5 * STEP)
    at = math.log(found.peak) / UNIT
    places = [math.log(peak) / UNIT for peak, _ in points]
    if min(abs(place - at) for place in places) >= 0.3 * apart:
        return [found.peak]
    above = sum(place > at for place in places) < sum(place < at for place in places)
    return [math.exp((at + apart if above else at - apart) * UNIT)]


def _scale(values: Sequence[float]) -> float:
    """Return the largest finite magnitude, so that squares neither overflow nor vanish."""
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0


def _finite(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return places and values of the runs that finished."""
    kept = [(math.log(peak) / UNIT, value) for peak, value in points if math.isfinite(value)]
    table = np.asarray(kept, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _by_place(u: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct places and the mean value at each."""
    places, index = np.unique(u, return_inverse=True)
    return places, np.bincount(index, weights=y) / np.bincount(index)


def _mean_at(points: Points, peak: float) -> float:
    """Return the mean value at a peak; infinite if a run diverged there."""
    values = [value for each, value in points if each == peak]
    return mean(values) if all(map(math.isfinite, values)) else math.inf


def _ends(points: Points, peaks: Sequence[float]) -> bool:
    """Return True if the value is lower at the upper end of the peaks than at the lower end."""
    return _mean_at(points, peaks[-1]) < _mean_at(points, peaks[0])


def _allowed(lost: Sequence[float], best: float) -> tuple[float, float]:
    """Return the range of the answer: a step around the best place, half-way to a divergence.

    Args:
        lost: places at which runs diverged.
        best: the best place.
    """
    if best in lost:
        return best - STEP, best
    above = [place for place in lost if place > best]
    below = [place for place in lost if place < best]
    low = max([best - STEP, *((place + best) / 2 for place in below)])
    high = min([best + STEP, *((place + best) / 2 for place in above)])
    return low, high
