"""Unit curves: the shapes of which every schedule is made, as numbers between 0 and 1.

A curve here has no learning rates. A decay is a function d(x) on [0, 1) with d(0) = 1; restarts
join several decays end to end; smoothing is a filter over a complete curve. Only `times` maps
update t of n to the time x = t/n. This is the convention of the literature (`cos(πt/T)`): the last
update is at x = 1 - 1/n, so a decay to zero never wastes a step at rate 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
Decay = Callable[[Curve, Mapping[str, float]], Curve]

#: Smallest distance between neighbouring spline knots, and between the free knots and 0 or 1.
KNOT_GAP = 1e-3


def round_half_up(value: float) -> int:
    """Round to the nearest integer, halves upwards (Python's `round` rounds halves to even)."""
    return math.floor(value + 0.5)


def times(n: int) -> Curve:
    """Return the time of every step of a phase: x = t/n for t = 0 … n-1, shape `[n]`."""
    return np.arange(n, dtype=np.float64) / n


def elementwise(function: Callable[[float], float], x: Curve) -> Curve:
    """Return a function of Python's `math` of every element.

    NumPy's own functions have other last bits on some processors. An exported schedule computes
    the same numbers without NumPy.
    """
    return np.fromiter(map(function, x.tolist()), np.float64, len(x))


def powers(base: Curve, exponent: float) -> Curve:
    """Return base^exponent of every element, as Python computes it; see `elementwise`."""
    exponent = float(exponent)
    return base if exponent == 1.0 else elementwise(lambda value: value**exponent, base)


def warmup_ramp(n: int) -> Curve:
    """Return the linear warmup (t+1)/n, shape `[n]`, which has no step at 0 and ends at 1."""
    return np.arange(1, n + 1, dtype=np.float64) / n


def constant(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = 1."""
    return np.ones_like(x)


def polynomial(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = (1-x)^power; power 1 is the linear decay."""
    return powers(1.0 - x, p["power"])


def cosine(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = (½(1+cos πx))^power; power 1 is the cosine of SGDR (arXiv 1608.03983)."""
    return powers(0.5 * (1.0 + elementwise(math.cos, math.pi * x)), p["power"])


def step(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = gamma^⌊x·(drops+1)⌋: `drops` drops that divide the phase into equal parts."""
    n, pieces, gamma = len(x), int(p["drops"]) + 1, float(p["gamma"])
    # Integer arithmetic: in floats, floor(x·pieces) may be one step late where t·pieces/n is an
    # integer.
    drops = ((np.arange(n) * pieces) // n).astype(np.float64)
    return elementwise(lambda done: gamma**done, drops)


def exponential(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = exp(-rate·x); `rate` is k·T of the textbook form η0·exp(-kt)."""
    return elementwise(math.exp, -p["rate"] * x)


def power_law(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = (1+rate·x)^(-power): hyperbolic (power 1), inverse square root (½), t^-α."""
    return powers(1.0 + p["rate"] * x, -p["power"])


def root(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = 1 - x^power; power ½ is the 1-sqrt cooldown (arXiv 2405.18392)."""
    return np.asarray(1.0 - powers(x, p["power"]))


def rex(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return d(x) = (1-x)/(1-(1-bend)·x); bend ½ is REX (arXiv 2107.04197), bend 1 is linear."""
    return np.asarray((1.0 - x) / (1.0 - (1.0 - p["bend"]) * x))


def spline_knots(p: Mapping[str, float]) -> tuple[Curve, Curve]:
    """Return the four knots of the spline.

    The parameters are fractions of the remaining interval (stick-breaking), so all values in range
    give a valid curve.

    Args:
        p: `knot_x1`, `knot_x2` in [0, 1] and `knot_y1`, `knot_y2` in (0, 1].

    Returns:
        abscissas and ordinates, each of shape `[4]`. Each abscissa is at least `KNOT_GAP` above
        the previous one; the ordinates never increase.
    """
    g = KNOT_GAP
    x1 = g + p["knot_x1"] * (1.0 - 3.0 * g)
    x2 = x1 + g + p["knot_x2"] * (1.0 - 2.0 * g - x1)
    y1 = p["knot_y1"]
    return np.array([0.0, x1, x2, 1.0]), np.array([1.0, y1, p["knot_y2"] * y1, 0.0])


def spline(x: Curve, p: Mapping[str, float]) -> Curve:
    """Return the monotone cubic (PCHIP) through (0, 1), two free knots and (1, 0).

    Source of PCHIP: Fritsch & Butland 1984.
    """
    from scipy.interpolate import PchipInterpolator  # importing it takes 0.3 s

    # PCHIP is monotone in exact arithmetic; with rounding it may leave [0, 1] by one ulp.
    return np.asarray(np.clip(PchipInterpolator(*spline_knots(p))(x), 0.0, 1.0))


#: Decays by name: the function, and the fields of a Schedule that it uses.
DECAYS: dict[str, tuple[Decay, tuple[str, ...]]] = {
    "constant": (constant, ()),
    "polynomial": (polynomial, ("power",)),
    "cosine": (cosine, ("power",)),
    "step": (step, ("drops", "gamma")),
    "exponential": (exponential, ("rate",)),
    "power_law": (power_law, ("rate", "power")),
    "root": (root, ("power",)),
    "rex": (rex, ("bend",)),
    "spline": (spline, ("knot_x1", "knot_y1", "knot_x2", "knot_y2")),
}


def cycle_bounds(n: int, cycles: int, growth: float) -> list[int]:
    """Return the boundaries of the cycles in a phase of `n` steps.

    Each cycle is `growth` times as long as the previous one. The cumulative lengths are rounded,
    not each length, so the last boundary is always `n`. With growth 2 and n = n0·(2^cycles - 1)
    the boundaries are exactly those of SGDR (T_mult = 2).

    Args:
        n: number of steps of the phase.
        cycles: number of cycles.
        growth: length of a cycle / length of the previous one.

    Returns:
        `cycles + 1` integers from 0 to n; two neighbours are equal if a cycle has no step.
    """
    # Lengths relative to the last cycle: powers of a large growth underflow to 0 instead of
    # overflowing.
    ends = np.cumsum(float(growth) ** np.arange(1 - cycles, 1))
    return [0, *(round_half_up(n * float(end / ends[-1])) for end in ends)]


def restarts(bounds: list[int], decay: Decay, p: Mapping[str, float], damping: float) -> Curve:
    """Return the decay repeated in every cycle, cycle i scaled by damping^i.

    Args:
        bounds: boundaries of the cycles, from `cycle_bounds`.
        decay: the decay function.
        p: parameters of the decay.
        damping: height of a cycle / height of the previous one.

    Returns:
        the curve, shape `[bounds[-1]]`.
    """
    return np.concatenate(
        [
            damping**i * decay(times(end - begin), p)
            for i, (begin, end) in enumerate(itertools.pairwise(bounds))
        ]
    )


def smooth(curve: Curve, smoothing: float) -> Curve:
    """Return the centred moving average of a curve with edge padding, shape `[T]`.

    The window has 1 + 2·round(smoothing·T/2) steps. Edge padding repeats the first and the last
    value; zero padding would add a warmup and raise the total variation. The result is clipped to
    the range of the curve within the window, because the running sum may leave it by rounding.

    Args:
        curve: the curve, shape `[T]`.
        smoothing: width of the window as a fraction of the run, in [0, 1); 0 returns the curve
            itself.
    """
    half = round_half_up(smoothing * len(curve) / 2)
    if smoothing == 0.0 or half == 0:
        return curve
    from scipy import ndimage  # importing it takes 0.1 s

    width = 1 + 2 * half
    mean = ndimage.uniform_filter1d(curve, width, mode="nearest")
    low = ndimage.minimum_filter1d(curve, width, mode="nearest")
    high = ndimage.maximum_filter1d(curve, width, mode="nearest")
    return np.asarray(np.clip(mean, low, high))
