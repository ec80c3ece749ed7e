"""Seed pruning: skip the remaining seeds of a schedule whose first seeds are clearly worse.

Trials of one study share their seeds, so the first seeds of a trial are compared with the same
seeds of the best trial that it may see. Its index decides which trials it may see, so the result
does not depend on the order in which trials end.

The best trial is partly luck: of k equal trials, the lowest mean is √(2 ln k) standard errors too
low, on its first seeds as on all. This amount is allowed on top of the standard errors of the
difference. If all schedules are equal and noise is independent, the rule prunes 3 % of the trials
with two seeds once ten are known, and under 1 % with more seeds or trials (simulated).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from lrsearch.outcome import Trial
from lrsearch.stats import mean

#: Standard errors by which the first seeds must be worse. A convention.
ERRORS = 3.0
#: Number of complete trials that must be known before any trial is pruned.
KNOWN = 10


def hopeless(
    values: Sequence[float], incumbent: Sequence[float], spread: float, rivals: int = 1
) -> bool:
    """Return True if the first seeds are worse than the incumbent's by more than chance.

    Args:
        values: values of the first m seeds.
        incumbent: values of the best trial on all seeds.
        spread: standard deviation of paired differences between seeds.
        rivals: k, the number of trials of which the incumbent is the best.
    """
    differences = [a - b for a, b in zip(values, incumbent, strict=False)]
    # Half of the variance of a difference is the incumbent's.
    luck = math.sqrt(2 * math.log(rivals) / (2 * len(incumbent)))
    return mean(differences) > spread * (ERRORS / math.sqrt(len(values)) + luck)


class SeedPruner:
    """A test of one trial against the best trial that it may see.

    Args:
        seen: trials that it may see, by index.
        seeds: number of seeds of a complete trial.
    """

    def __init__(self, seen: Mapping[int, Trial], seeds: int) -> None:
        whole = {
            index: [o.value for o in trial.outcomes if o.value is not None]
            for index, trial in seen.items()
            if trial.value is not None
        }
        self._incumbent: list[float] = []
        self._spread, self._rivals = 0.0, len(whole)
        if seeds < 2 or len(whole) < KNOWN:
            return
        best = min(whole, key=lambda index: (mean(whole[index]), index))
        self._incumbent = whole.pop(best)
        pairs = [
            [a - b for a, b in zip(values, self._incumbent, strict=True)]
            for values in whole.values()
        ]
        # The median: schedules that train badly also scatter widely. A variance of n values has
        # its median at (1 - 2/(9(n-1)))³ of its mean (Wilson and Hilferty 1931).
        middle = statistics.median(statistics.variance(differences) for differences in pairs)
        self._spread = math.sqrt(middle / (1 - 2 / (9 * (seeds - 1))) ** 3)

    def estimate(self, values: Sequence[float]) -> float:
        """Return an estimate of a pruned trial's value on all seeds.

        It is the incumbent's mean plus the mean paired difference. The first seeds may be easy
        ones, and their mean alone would make a bad schedule look good to the sampler.
        """
        pairs = zip(values, self._incumbent, strict=False)
        return mean(self._incumbent) + mean([a - b for a, b in pairs])

    def lost(self, values: Sequence[float]) -> bool:
        """Return True if a trial with these first values is pruned."""
        return bool(self._incumbent) and hopeless(
            values, self._incumbent, self._spread, self._rivals
        )
