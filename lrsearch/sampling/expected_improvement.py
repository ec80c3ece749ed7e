"""The logarithm of the expected improvement, also where the improvement itself underflows.

Ament et al. 2023 (arXiv 2310.20708): far from the best point, the expected improvement is 0 in
floating point and has no slope, so a search for its maximum does not move.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
#: Below this, the logarithm of the improvement is that of its asymptote.
FAR = -1e4


def log_improvement(
    mean: np.ndarray, deviation: np.ndarray, best: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logarithm of the expected improvement, and its slopes.

    Args:
        mean: means of normal values, shape `[m]`; lower is better.
        deviation: their standard deviations, shape `[m]`.
        best: the value that is to be improved.

    Returns:
        the logarithm, its derivative in the mean and in the deviation, shape `[m]` each.
    """
    z = (best - mean) / deviation
    log_density = -0.5 * z * z - HALF_LOG_2PI
    near = z > -1.0
    # The expected improvement is deviation·(φ + z·Φ) = deviation·φ·(1 + z·m), m = Φ/φ.
    mills = math.sqrt(math.pi / 2) * special.erfcx(-np.minimum(z, 30.0) / math.sqrt(2.0))
    with np.errstate(all="ignore"):
        direct = np.log(np.exp(log_density) + z * special.ndtr(z))
        rest = np.where(z > FAR, np.maximum(1 + z * mills, 1e-300), z**-2.0)
        log_h = np.where(near, direct, log_density + np.log(rest))
        # d log h / d z = Φ / (φ + z·Φ)
        slope = np.exp(special.log_ndtr(z) - log_h)
    return log_h + np.log(deviation), -slope / deviation, (1 - z * slope) / deviation
