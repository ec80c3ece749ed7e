"""When a run counts as diverged, from the losses that it has reported."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.curves import round_half_up

#: Raised when the rule changes: a study is continued by the rule that it records, or not at all.
DIVERGENCE_VERSION = 1
#: A run has diverged once its median loss exceeds this multiple of the loss before training.
DIVERGENCE_FACTOR = 2.0


def divergence_window(updates: int) -> int:
    """Reports in the median of the divergence rule: 2 % of the run, at least 10."""
    return max(10, round_half_up(0.02 * updates))


def divergence(losses: ArrayLike, updates: int, untrained: float | None = None) -> int | None:
    """The first report at which a run counts as diverged, or None.

    Diverged means non-finite, or, where no loss is negative, a median over 2 % of the run (at
    least 10 reports) above twice the initial loss: the first report, or what is known of an
    untrained model where that is higher, since the first batch may be an easy one. A convention:
    loose enough for the spikes that healthy runs recover from.

    Args:
        losses: reports in their order, shape `[n]`.
        updates: T, the length of the run.
        untrained: the value of an untrained model, where it is known.
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
    """The loss above which a median counts as diverged."""
    return DIVERGENCE_FACTOR * max(first, first if untrained is None else untrained)


def describe_divergence(update: int, loss: float) -> str:
    """The reason of a diverged outcome, with its update and its loss."""
    return f"diverged at update {update} with loss {loss:.4g}"
