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
#: Share of a window's reports that are high in a diverged run. With half of them, means of one
#: squared normal are stopped in 61 % of runs; with this share, in 0.3 % (measured).
SHARE = 0.9
#: A loss starts near 0 if the first report is below this share of the initial loss. A convention.
NEAR_ZERO = 0.05
#: Standard errors that are added to the mean of the first window, because few reports of a small
#: batch can be low by chance. Measured: with none, 1.9 % of runs at batch 1 are stopped; with two,
#: 0.3 %.
ERRORS = 2.0


class DivergenceRule:
    """Decides after each report whether a run has diverged.

    A run has diverged if a loss is not finite, or if at least 90 % of the losses in a window are
    higher than twice the initial loss. A window is the number of reports in the first 2 % of the
    run, at least 10.

    The initial loss is the loss of an untrained model, or the first report if that is higher. If
    the loss of an untrained model is unknown, it is the mean of the first window plus two standard
    errors: one report alone can be far too low, above all at a small batch. If the loss explodes
    in the first window (it at least doubles with every report, or its mean is a million times the
    first report and a million), it is the first report.

    Only a loss that is not finite counts if a loss is negative, if the first report is below 5 %
    of the initial loss (such as a KL penalty that starts at 0), or if the objective says that its
    loss need not decrease.

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
            self._window, self._limit = self._reports, self._find_limit()
            if self._limit is not None:
                limit = self._limit
                self._high.extend(i for i, each in enumerate(self._first) if each > limit)
        elif loss > self._limit:
            self._high.append(self._reports - 1)
        while self._high and self._high[0] < self._reports - self._window:
            self._high.popleft()
        return len(self._high) >= SHARE * self._window

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

    def _find_limit(self) -> float | None:
        """Return the loss above which a report is high; None if no finite loss is."""
        losses = np.array(self._first)
        first = float(losses[0])
        if self._untrained is not None:
            initial = max(first, self._untrained)
        elif _has_exploded(losses):
            return FACTOR * first
        else:
            error = float(losses.std(ddof=1)) / math.sqrt(len(losses))
            initial = max(first, float(losses.mean()) + ERRORS * error)
        return None if first <= NEAR_ZERO * initial else FACTOR * initial


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
