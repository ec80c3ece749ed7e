"""How much a curve of learning rates varies: several measures, because one alone cannot tell.

The total variation F of a monotone curve is the distance between its ends, whatever its shape:
from .1 to .001 a step, a cosine, a line and an exponential all have F = .099. The other measures
tell them apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def total_variation(rates: ArrayLike) -> float:
    """F = Σ|η_t - η_{t-1}|, in units of the rate; 0 of fewer than two updates."""
    return float(np.abs(np.diff(np.asarray(rates, dtype=np.float64))).sum())


def quadratic_variation(rates: ArrayLike) -> float:
    """Σ(η_t - η_{t-1})², in units of the rate squared: large jumps count more than many small."""
    return float(np.square(np.diff(np.asarray(rates, dtype=np.float64))).sum())


def largest_jump(rates: ArrayLike) -> float:
    """max|η_t - η_{t-1}|, in units of the rate; 0 of fewer than two updates."""
    return float(np.abs(np.diff(np.asarray(rates, dtype=np.float64))).max(initial=0.0))


def second_variation(rates: ArrayLike) -> float:
    """Σ|η_{t+1} - 2η_t + η_{t-1}|, in units of the rate: the total variation of the slope."""
    return float(np.abs(np.diff(np.asarray(rates, dtype=np.float64), 2)).sum())
