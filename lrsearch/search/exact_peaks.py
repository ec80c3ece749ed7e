"""The best peak of a shape whose value has no noise: bracket it, then follow parabolas.

A comparison of exact values is only as good as the peaks of its schedules: on a grid of nine peaks
the value of a shape is up to 10 % above its lowest. This is Brent's idea (1973, chapter 5) in the
logarithm of the peak: the vertex of the parabola through the best peak and its neighbours, or the
middle of the wider gap where the parabola says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Relative size of a gain in the value that is not worth another run.
GAIN = 1e-6
#: Largest distance of the neighbours from the best peak, in units of ln(peak), at which a parabola
#: is trusted to predict the gain.
NEAR = 0.15
#: Distance from a peak at which the run diverged, in units of ln(peak), that is not worth another
#: run.
EDGE = 1e-3
#: Smallest distance of a new peak from the known ones, as a fraction of the gap.
APART = 0.1
#: Most peaks of a shape. Those of the baselines need 15 to 35.
MOST = 60


def next_peak(known: Mapping[float, float]) -> float | None:
    """Return the next peak at which to run a shape, or None if its best peak is known.

    Args:
        known: value by peak, at least one; not finite if the run diverged.

    Returns:
        A peak that is not known. Twice or half of an end of the known peaks, if the best one is at
        this end.
    """
    peaks = sorted(known)
    at = min(range(len(peaks)), key=lambda i: (_worst(known[peaks[i]]), peaks[i]))
    best = known[peaks[at]]
    if len(peaks) >= MOST:
        return None
    if at == 0:
        flat = len(peaks) > 1 and known[peaks[1]] == best and math.isfinite(best)
        return None if flat else peaks[0] / 2
    if at == len(peaks) - 1:
        return peaks[-1] * 2
    a, b, c = (math.log(peak) for peak in peaks[at - 1 : at + 2])
    low, high = known[peaks[at - 1]], known[peaks[at + 1]]
    wide = (a + b) / 2 if b - a > c - b else (b + c) / 2
    if not (math.isfinite(low) and math.isfinite(high)):
        return _next_at_edge(a, b, c, above=math.isfinite(low))
    # The parabola best + slope·x + bend·x² in x = ln(peak) - b.
    left, right = (low - best) / (a - b), (high - best) / (c - b)
    bend = (right - left) / (c - a)
    if not bend > 0:
        return None if c - a < NEAR else math.exp(wide)
    slope = left - bend * (a - b)
    vertex, gain = b - slope / (2 * bend), slope * slope / (4 * bend)
    if max(b - a, c - b) <= NEAR and gain <= GAIN * abs(best):
        return None
    gap = b - a if vertex < b else c - b
    if min(abs(vertex - place) for place in (a, b, c)) < APART * gap:
        vertex = wide
    return math.exp(vertex)


def _next_at_edge(a: float, b: float, c: float, *, above: bool) -> float | None:
    """Return the next peak if the run at a neighbour of the best one diverged.

    Args:
        a: logarithm of the neighbour below the best peak.
        b: logarithm of the best peak.
        c: logarithm of the neighbour above it.
        above: True if the neighbour above it, c, diverged; else a did.
    """
    lost, other = (c, a) if above else (a, c)
    if abs(lost - b) > EDGE:
        return math.exp((b + lost) / 2)
    return math.exp((b + other) / 2) if abs(other - b) > NEAR else None


def _worst(value: float) -> float:
    return value if math.isfinite(value) else math.inf
