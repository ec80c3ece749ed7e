"""Intervals that decide a case: an estimate alone never does."""

from __future__ import annotations

import math

LEVEL = 0.95
Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's 95 % score interval of a proportion (1927); good near 0 and 1 too."""
    from scipy import stats  # 1 s of import

    test = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return float(test.low), float(test.high)


def rank_interval(correlation: float, count: int) -> Interval:
    """95 % interval of Spearman's correlation: Fisher's z with Bonett & Wright's error (2000).

    An approximation, measured to be good up to correlations of about .95.
    """
    bounded = max(-1 + 1e-12, min(1 - 1e-12, correlation))
    half = 1.959964 * math.sqrt((1 + bounded**2 / 2) / (count - 3))
    z = math.atanh(bounded)
    return math.tanh(z - half), math.tanh(z + half)


def apart(higher: Interval, lower: Interval) -> bool:
    """Whether one interval lies wholly above another. Stricter than a test of the difference."""
    return higher[0] > lower[1]


def within(interval: Interval, target: float, tolerance: float) -> bool:
    """Whether the whole interval lies within target ± tolerance: shown to be near."""
    return target - tolerance <= interval[0] and interval[1] <= target + tolerance
