"""Sizes of a comparison: how much is compared with how many runs."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import ComparisonPlan, Shape
from lrsearch.search.noisy_peaks import FEWEST, MOST
from lrsearch.sequential import Looks
from lrsearch.study.settings import SMALLEST


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is compared. The numbers of seeds are chosen so that the runs fit.

    Attributes:
        top: number of candidates.
        baselines: number of baselines, of which the peaks are tuned.
        most: largest number of runs that tune a peak.
        reported: number of alternatives on fresh seeds.
        selection: number of seeds on which candidates and fixed schedules are chosen.
        tuned: True if the peak of the searched schedule is tuned again.
        default: True if the default schedule is an alternative.
        around: True if the recommended schedule is run at some peaks around its own.
        seeds: smallest and largest number of fresh seeds.
        others: largest number of fresh seeds of alternatives after the first.
    """

    top: int
    baselines: int
    most: int
    reported: int = 100
    selection: int = 3
    tuned: bool = True
    default: bool = False
    around: bool = False
    seeds: tuple[int, int]
    others: int = 10

    def runs(self, seeds: int) -> int:
        """Return the number of runs at most, without a current or default schedule."""
        shape = Shape(name="any", schedule=Schedule(peak=1.0), most=self.most)
        return ComparisonPlan(
            candidates=(shape,) * self.top,
            alternatives=(shape,) * self.baselines,
            selection=self.selection,
            seeds=seeds,
            others=min(self.others, seeds),
            reported=self.reported,
            tuned=self.tuned,
            around=self.around,
        ).runs


#: The comparison with all baselines, without a limit on runs.
FULL = Size(top=5, baselines=6, most=MOST, default=True, around=True, seeds=(20, 40), others=16)
#: Smaller ones, for budgets. Simulated: with few runs, more seeds for fewer schedules show more.
SIZES = (
    FULL,
    Size(top=3, baselines=6, most=8, seeds=(16, 40)),
    Size(top=2, baselines=4, most=6, seeds=(12, 24)),
    Size(top=1, baselines=3, most=FEWEST, tuned=False, reported=2, seeds=(10, 16), others=16),
    Size(top=1, baselines=2, most=FEWEST, tuned=False, seeds=(8, 16), reported=1),
)
#: Numbers of seeds of the smallest comparison, of two schedules. With fewer than three seeds
#: nothing can be shown, and more than sixteen are worth a comparison with baselines.
PAIR_SEEDS = (3, 16)


def describe_budget(trials: int, runs: int) -> str:
    """Return how a budget of runs is divided, and what its comparison can show, in one line.

    Args:
        trials: number of runs of the search.
        runs: number of all runs.
    """
    left = runs - trials
    sizes = ((size.seeds, size.runs) for size in SIZES)
    for (low, high), cost in (*sizes, (PAIR_SEEDS, lambda seeds: 2 * seeds)):
        fitting = [seeds for seeds in range(high, low - 1, -1) if cost(seeds) <= left]
        if fitting:
            shown = Looks(seeds=fitting[0]).detectable()
            return (
                f"{runs} runs: {trials} for the search, at most {left} for a comparison on "
                f"{fitting[0]} fresh seeds, which shows a difference above {shown:.2g} standard "
                "deviations"
            )
    return (
        f"{runs} runs, all for the search: with fewer than {SMALLEST}, a comparison shows nothing"
    )
