"""Confidence intervals that decide the cases of random experiments."""

from __future__ import annotations

import math

LEVEL = 0.95
Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % score interval of a proportion (1927), accurate also near 0 and 1."""
    from scipy import stats  # importing it takes 1 s

    test = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return float(test.low), float(test.high)


def rank_interval(correlation: float, count: int) -> Interval:
    """Return a 95 % interval of Spearman's correlation.

    Fisher's z with the standard error of Bonett & Wright (2000). The approximation is good up to
    correlations of about .95 (measured).

    Args:
        correlation: Spearman's correlation.
        count: number of pairs, at least 4.
    """
    bounded = max(-1 + 1e-12, min(1 - 1e-12, correlation))
    half = 1.959964 * math.sqrt((1 + bounded**2 / 2) / (count - 3))
    z = math.atanh(bounded)
    return math.tanh(z - half), math.tanh(z + half)


def apart(higher: Interval, lower: Interval) -> bool:
    """Return True if one interval lies entirely above another.

    This is stricter than a test of the difference.
    """
    return higher[0] > lower[1]


def within(interval: Interval, target: float, tolerance: float) -> bool:
    """Return True if the whole interval lies within target ± tolerance."""
    return target - tolerance <= interval[0] and interval[1] <= target + tolerance
