"""The plan of a comparison: which schedules compete, and with how many runs at most."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lrsearch.contender import CURRENT
from lrsearch.schedule import Schedule
from lrsearch.sequential import Looks
from lrsearch.stats import mean

#: Runs of a shape of an exact objective, for the estimate: each needs 15 to 35.
EXACT_RUNS = 30
#: Peaks at which the recommended schedule is run to see how much its peak matters, as multiples of
#: its peak.
AROUND = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A schedule that competes.

    Attributes:
        name: `trial 71`, or the name of an alternative.
        schedule: the schedule; tuning its peak begins at its own.
        fixed: True if it competes at its own peak.
        most: largest number of runs that tune its peak.
        known: peak and value of the search's trials of this shape; infinite if it diverged.
    """

    name: str
    schedule: Schedule
    fixed: bool = False
    most: int = 0
    known: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """The schedules of a comparison, and the numbers of its runs.

    Attributes:
        candidates: schedules of the search, of which the best one is the searched schedule.
        alternatives: the schedules with which it is compared.
        selection: number of seeds on which candidates and fixed alternatives are chosen; 0 if
            there is nothing to choose.
        seeds: number of fresh seeds of the searched schedule, the current one and the best
            alternative, at most.
        others: the same of the other alternatives.
        reported: number of alternatives that are run on fresh seeds, the best ones.
        tuned: True if the peak of the searched schedule is tuned; False if it was in the search.
        around: True to run the recommended schedule at some peaks around its own.
        exact: True if a schedule always has the same value.
        grid: peaks at which every shape of an exact objective is run first.
        folded: names of alternatives that have the shape of the only candidate.
        spent: number of earlier comparisons of the study and their extensions.
        extended: number of times that the seeds of an earlier comparison are doubled.
    """

    candidates: tuple[Shape, ...]
    alternatives: tuple[Shape, ...]
    selection: int = 0
    seeds: int = 1
    others: int = 1
    reported: int = 1
    tuned: bool = False
    around: bool = False
    exact: bool = False
    grid: tuple[float, ...] = ()
    folded: tuple[str, ...] = ()
    spent: int = 0
    extended: int = 0

    @property
    def runs(self) -> int:
        """Number of runs at most. For exact objectives, an estimate."""
        around = len(AROUND) * self.around
        if self.exact:
            fixed = sum(shape.fixed for shape in self.alternatives)
            shapes = len(self.candidates) + len(self.alternatives) - fixed
            return EXACT_RUNS * shapes + fixed + around
        chosen = len(self.candidates) * (len(self.candidates) > 1 or self.tuned)
        if len(self.alternatives) > 1:
            chosen += sum(shape.fixed for shape in self.alternatives)
        tuning = sum(shape.most for shape in self.alternatives)
        tuning += self.candidates[0].most if self.tuned else 0
        today = any(shape.name == CURRENT for shape in self.alternatives)
        leading = min(len(self.alternatives), 1 + today)
        reported = max(leading, min(self.reported, len(self.alternatives)))
        report = (1 + leading) * self.seeds + (reported - leading) * self.others
        return (chosen + around) * self.selection + tuning + report

    @property
    def looks(self) -> Looks:
        """The looks of the comparison, as far as they are known before it."""
        first = 0 if self.exact else self.seeds >> self.extended
        return Looks(seeds=first, extended=self.extended, spent=self.spent)

    def with_seeds(self, seeds: int) -> ComparisonPlan:
        """Return the plan with another number of fresh seeds, at most the present one."""
        return dataclasses.replace(self, seeds=seeds, others=min(self.others, seeds))

    def describe(self) -> str:
        """Return the runs of the comparison in one line."""
        if self.exact:
            return (
                f"comparing: {_count(len(self.candidates), 'candidate')}, "
                f"{_count(len(self.alternatives), 'alternative')}, exact values: about "
                f"{self.runs} runs"
            )
        detectable = (
            f"to show a difference above {self.looks.detectable():.2g} standard deviations"
        )
        if not self.selection and not any(shape.most for shape in self.alternatives):
            return (
                f"comparing: the best schedule with the {self.alternatives[0].name} one, "
                f"{self.seeds} fresh seeds: {self.runs} runs, {detectable}"
            )
        return (
            f"comparing: {_count(len(self.candidates), 'candidate')}, "
            f"{_count(len(self.alternatives), 'alternative')}, {self.seeds} fresh seeds: at most "
            f"{self.runs} runs, {detectable}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def rank_key(values: Sequence[float]) -> tuple[int, float]:
    """Return the sort key of a schedule: number of diverged seeds, then the mean of the rest."""
    finite = [value for value in values if math.isfinite(value)]
    return len(values) - len(finite), mean(finite) if finite else math.inf


def mean_of_finite(values: Sequence[float]) -> float | None:
    """Return the mean over the seeds that finished; None if no seed finished."""
    _, found = rank_key(values)
    return found if math.isfinite(found) else None
