"""The rule by which a run counts as diverged, applied to its reported losses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.curves import round_half_up

#: Version of the rule. A study stores it and is continued only under the same version.
DIVERGENCE_VERSION = 2
#: A loss is high above this multiple of the initial loss. A convention.
FACTOR = 2.0
#: Share of a window's reports that are high in a diverged run: without noise, and at most; it
#: grows with the relative spread of the first window, by this factor. Measured: with half at any
#: spread, 61 % of runs whose loss is the mean of one squared normal are stopped, with these 0.2 %.
SHARES, PER_SPREAD = (0.5, 0.9), 0.8
#: A loss starts near 0 if the first report is below this share of the initial loss. A convention.
NEAR_ZERO = 0.05
#: Standard errors that are added to the mean of the first window, because few reports of a small
#: batch can be low by chance. Measured: with none, 3 % of runs at batch 1 are stopped, with two
#: 0.6 %.
ERRORS = 2.0


class DivergenceRule:
    """Decides after each report whether a run has diverged.

    A run has diverged if a loss is not finite, or if most of the losses in a window are higher
    than twice the initial loss. A window is the number of reports in the first 2 % of the run, at
    least 10. "Most" is half of a window plus 80 % of the relative spread of the first window, at
    most 90 %. The relative spread is 1 - (lower quartile) / median; it is 0.1 at a batch of 64
    squared normals and 0.8 at one.

    The initial loss is the loss of an untrained model, or the first report if that is higher. If
    the loss of an untrained model is unknown, it is the mean of the first window plus two standard
    errors: one report alone can be far too low, above all at a small batch. If the loss explodes
    in the first window (it at least doubles with every report, or its mean is a million times the
    first report and a million), it is the first report.

    Only a loss that is not finite counts if a loss is negative, if the objective says that its
    loss need not decrease, or if the first report is near 0 (such as a KL penalty that starts at
    0): below 5 % of the loss of an untrained model, or of the median of the first window.

    Args:
        updates: T, the number of steps of the run.
        untrained: the loss of an untrained model, or None if it is unknown.
        decreases: False if the loss need not decrease in a healthy run.
    """

    def __init__(
        self, updates: int, untrained: float | None = None, *, decreases: bool = True
    ) -> None:
        self._untrained, self._horizon = untrained, round_half_up(0.02 * updates)
        self._first: list[float] = []  # the losses of the first window
        self._reports = self._window = 0
        self._limit = math.inf if decreases else None
        self._most = 0.0  # number of high reports in the window of a diverged run
        self._high: deque[int] = deque()  # indices of high reports within the last window

    def judge(self, t: int, loss: float) -> bool:
        """Return True if the run has diverged with this report.

        Args:
            t: the step that is reported, higher than all before.
            loss: its loss.
        """
        if not math.isfinite(loss):
            return True
        if self._limit is None:
            return False
        if loss < 0:
            self._limit = None
            return False
        self._reports += 1
        if not self._window:
            self._first.append(loss)
            if t + 1 < self._horizon or self._reports < 10:
                return False
            if not self._end_first_window():
                return False
        elif loss > self._limit:
            self._high.append(self._reports - 1)
        while self._high and self._high[0] < self._reports - self._window:
            self._high.popleft()
        return len(self._high) >= self._most

    def skip(self, losses: Sequence[float]) -> bool:
        """Count reports at once if they cannot change the result, and return True if it did.

        Args:
            losses: losses of the next reports.
        """
        # The sum is not finite if a loss is not; this avoids comparisons with NaN.
        if not math.isfinite(sum(losses)):
            return False
        if self._limit is None:
            return True
        if not self._window or self._high or min(losses) < 0 or max(losses) > self._limit:
            return False
        self._reports += len(losses)
        return True

    def _end_first_window(self) -> bool:
        """Derive the limits from the first window; return False if no finite loss can diverge."""
        losses, self._window = np.array(self._first), self._reports
        first, (quartile, median) = self._first[0], np.quantile(losses, (0.25, 0.5))
        if self._untrained is not None:
            initial = typical = max(first, self._untrained)
        elif _has_exploded(losses):
            initial, typical = first, -math.inf
        else:
            error = float(losses.std(ddof=1)) / math.sqrt(len(losses))
            initial, typical = max(first, float(losses.mean()) + ERRORS * error), float(median)
        if first <= NEAR_ZERO * typical:
            self._limit = None
            return False
        limit = self._limit = FACTOR * initial
        self._high.extend(i for i, loss in enumerate(self._first) if loss > limit)
        spread = 1 - float(quartile / median) if median > 0 else 0.0
        low, high = SHARES
        # The tolerance is for rounding of a product that is a whole number.
        self._most = min(high, low + PER_SPREAD * spread) * self._window - 1e-9
        return True


def _has_exploded(losses: np.ndarray) -> bool:
    """Return True if the loss exploded in the first window.

    A loss that starts at 0 may rise at first as fast as t⁴ (a KL divergence under linear warmup),
    which does not double each time up to the tenth report. At batch 1, the first report is by
    chance a millionth of the mean in less than 0.1 % of runs.
    """
    first = float(losses[0])
    doubled = losses[1] > 0 and (losses[1:] >= 2 * losses[:-1]).all()
    return bool(doubled or losses.mean() > 1e6 * max(first, 1.0))


def divergence(
    losses: ArrayLike, updates: int, untrained: float | None = None, *, decreases: bool = True
) -> int | None:
    """Return the index of the first report at which a run counts as diverged, or None.

    Args:
        losses: losses of the steps from 0 on, shape `[n]`.
        updates: T, the number of steps of the run.
        untrained: the loss of an untrained model, or None if it is unknown.
        decreases: False if the loss need not decrease in a healthy run.
    """
    values = np.asarray(losses, dtype=np.float64).tolist()
    rule = DivergenceRule(updates, untrained, decreases=decreases)
    for begin in range(0, len(values), 64):
        block = values[begin : begin + 64]
        if rule.skip(block):
            continue
        for t, loss in enumerate(block, begin):
            if rule.judge(t, loss):
                return t
    return None


def describe_divergence(update: int, loss: float) -> str:
    """Return the reason of a diverged outcome, which names the update and the loss."""
    return f"diverged at update {update} with loss {loss:.4g}"
