"""Seeds as a fidelity: a schedule whose first seeds are hopeless need not run the rest.

Trials of one study share their seeds, so the first seeds of a trial are held against the same
seeds of the best trial that it may see. What it may see is decided by its index, as everything
that a search asks, so racing does not hang on who is finished first.

The best trial is also the luckiest: of k equal ones its mean lies √(2 ln k) standard errors too
low, on its first seeds as on all. So much is allowed on top of the standard errors of the
difference. Where all schedules are equal and noise is independent, that gives up 3 % of the trials
with two seeds once ten are known, and under 1 % with more of either (simulated).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from lrsearch.result import Trial
from lrsearch.stats import mean

#: Standard errors by which the first seeds must be worse. A convention.
ERRORS = 3.0
#: Trials with all seeds that must be known before anything is judged.
KNOWN = 10


def hopeless(
    values: Sequence[float], incumbent: Sequence[float], spread: float, rivals: int = 1
) -> bool:
    """Whether the first seeds are worse than the incumbent's by more than chance explains.

    Args:
        values: of the first m seeds.
        incumbent: of all seeds.
        spread: standard deviation of such paired differences between seeds.
        rivals: k, the trials of which the incumbent is the best.
    """
    differences = [a - b for a, b in zip(values, incumbent, strict=False)]
    luck = math.sqrt(2 * math.log(rivals) / (2 * len(incumbent)))  # one of the two is the noise's
    return mean(differences) > spread * (ERRORS / math.sqrt(len(values)) + luck)


class SeedPruner:
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
        """What a trial that has lost would be worth on all seeds.

        The incumbent's mean and the mean paired difference: the first seeds may be easy ones, and
        the mean of them alone would tell the sampler that a bad schedule is a good one.
        """
        pairs = zip(values, self._incumbent, strict=False)
        return mean(self._incumbent) + mean([a - b for a, b in pairs])

    def lost(self, values: Sequence[float]) -> bool:
        """Whether a trial with these first values need not run its other seeds."""
        return bool(self._incumbent) and hopeless(
            values, self._incumbent, self._spread, self._rivals
        )
