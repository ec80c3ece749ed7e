"""What a study stores of a comparison: its result, and the outcomes of its runs."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.comparison import Comparison
from lrsearch.outcome import Outcome
from lrsearch.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class StoredComparison:
    """A comparison, and the number of trials without failed ones at that time."""

    trials: int
    confirmation: Comparison


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The outcomes of one schedule in a comparison."""

    schedule: Schedule
    outcomes: tuple[Outcome, ...]
