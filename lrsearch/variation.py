"""Measures of how much the learning rate varies over a run.

The total variation F of a monotone curve is the distance between its ends, for any shape: from .1
to .001 a step decay, a cosine, a linear and an exponential decay all have F = .099. The other
measures distinguish these shapes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def total_variation(rates: ArrayLike) -> float:
    """Return F = Σ|η_t - η_{t-1}|, in units of the rate; 0 for fewer than two steps."""
    return float(np.abs(np.diff(np.asarray(rates, dtype=np.float64))).sum())


def quadratic_variation(rates: ArrayLike) -> float:
    """Return Σ(η_t - η_{t-1})², in units of the rate squared; large jumps count most."""
    return float(np.square(np.diff(np.asarray(rates, dtype=np.float64))).sum())


def largest_jump(rates: ArrayLike) -> float:
    """Return max|η_t - η_{t-1}|, in units of the rate; 0 for fewer than two steps."""
    return float(np.abs(np.diff(np.asarray(rates, dtype=np.float64))).max(initial=0.0))


def second_variation(rates: ArrayLike) -> float:
    """Return Σ|η_{t+1} - 2η_t + η_{t-1}|, the variation of the slope, in units of the rate."""
    return float(np.abs(np.diff(np.asarray(rates, dtype=np.float64), 2)).sum())
