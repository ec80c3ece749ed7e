"""Seeds as a fidelity: a schedule whose first seeds are hopeless need not run the rest.

Trials of one study share their seeds, so the first seeds of a trial are held against the same
seeds of the best trial that it may see. What it may see is decided by its index, as everything
that a search asks, so racing does not hang on who is finished first.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from lrsearch.result import Trial

__all__ = ["Race", "hopeless"]

#: Standard errors by which the first seeds must be worse. A convention: where two schedules are
#: equal, one look in 700 is wrong.
ERRORS = 3.0
#: Trials with all seeds that must be known before anything is judged.
KNOWN = 5


def hopeless(values: Sequence[float], incumbent: Sequence[float], spread: float) -> bool:
    """Whether the first seeds are worse than the incumbent's by `ERRORS` standard errors.

    Args:
        values: of the first m seeds.
        incumbent: of the same seeds at least.
        spread: standard deviation of such paired differences between seeds.
    """
    differences = [a - b for a, b in zip(values, incumbent, strict=False)]
    return math.fsum(differences) / len(differences) > ERRORS * spread / math.sqrt(len(values))


class Race:
    """What one trial is held against.

    Args:
        seen: the trials that it may see, by index.
        seeds: of a whole trial.
    """

    def __init__(self, seen: Mapping[int, Trial], seeds: int) -> None:
        whole = {
            index: [o.value for o in trial.outcomes if o.value is not None]
            for index, trial in seen.items()
            if trial.value is not None
        }
        self._incumbent: list[float] = []
        self._spread = 0.0
        if seeds < 2 or len(whole) < KNOWN:
            return
        best = min(whole, key=lambda index: (math.fsum(whole[index]), index))
        self._incumbent = whole.pop(best)
        pairs = [
            [a - b for a, b in zip(values, self._incumbent, strict=True)]
            for values in whole.values()
        ]
        # The median: schedules that train badly also scatter widely.
        self._spread = statistics.median(statistics.stdev(differences) for differences in pairs)

    def estimate(self, values: Sequence[float]) -> float:
        """What a trial that has lost would be worth on all seeds.

        The incumbent's mean and the mean paired difference: the first seeds may be easy ones, and
        the mean of them alone would tell the sampler that a bad schedule is a good one.
        """
        pairs = zip(values, self._incumbent, strict=False)
        worse = math.fsum(a - b for a, b in pairs) / len(values)
        return math.fsum(self._incumbent) / len(self._incumbent) + worse

    def lost(self, values: Sequence[float]) -> bool:
        """Whether a trial with these first values need not run its other seeds."""
        return bool(self._incumbent) and hopeless(values, self._incumbent, self._spread)
