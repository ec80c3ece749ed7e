"""The rule by which a run counts as diverged, applied to its reported losses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.curves import round_half_up

#: Version of the rule. A study stores it and is continued only under the same version.
DIVERGENCE_VERSION = 1
#: A run has diverged once its median loss exceeds this multiple of the loss before training.
DIVERGENCE_FACTOR = 2.0


def divergence_window(updates: int) -> int:
    """Return the number of reports in the median of the rule: 2 % of the run, at least 10."""
    return max(10, round_half_up(0.02 * updates))


def divergence(losses: ArrayLike, updates: int, untrained: float | None = None) -> int | None:
    """Return the index of the first report at which a run counts as diverged, or None.

    A run has diverged if a loss is not finite. If no loss is negative, it has also diverged if the
    median over 2 % of the run (at least 10 reports) exceeds twice the initial loss. The initial
    loss is the first report, or the loss of an untrained model if that is higher, because the
    first batch may be an easy one. The factor is a convention, large enough for the spikes that
    healthy runs recover from.

    Args:
        losses: reported losses in their order, shape `[n]`.
        updates: T, the number of steps of the run.
        untrained: the loss of an untrained model, or None if it is unknown.
    """
    values = np.asarray(losses, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(values))
    end = int(broken[0]) if len(broken) else len(values)
    first, window = end if len(broken) else None, divergence_window(updates)
    healthy = values[:end]
    if end < window or healthy.min() < 0:
        return first
    limit = divergence_limit(float(healthy[0]), untrained)
    if healthy.max() <= limit:
        return first
    windows = np.lib.stride_tricks.sliding_window_view(healthy, window)
    high = np.flatnonzero(np.median(windows, axis=1) > limit)
    return int(high[0]) + window - 1 if len(high) else first


def divergence_limit(first: float, untrained: float | None) -> float:
    """Return the loss above which a median counts as diverged.

    Args:
        first: the first reported loss.
        untrained: the loss of an untrained model, or None if it is unknown.
    """
    return DIVERGENCE_FACTOR * max(first, first if untrained is None else untrained)


def describe_divergence(update: int, loss: float) -> str:
    """Return the reason of a diverged outcome, which names the update and the loss."""
    return f"diverged at update {update} with loss {loss:.4g}"
