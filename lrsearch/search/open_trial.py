"""A trial in flight: its schedule, its plan and the outcomes of its runs so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.schedule import Schedule
from lrsearch.search.seed_pruning import SeedPruner


@dataclass
class OpenTrial:
    """A trial in flight.

    Attributes:
        schedule, plan: the schedule and the plan of its runs.
        retries: number of earlier attempts whose process died.
        first: replicate of its first run.
        begun: number of its runs that have started.
        outcomes: outcomes of the runs that have ended, by their number from 0.
        race: the seed pruner of the trial; None before its first use.
    """

    schedule: Schedule
    plan: Plan
    retries: int
    first: int = 0
    begun: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    race: SeedPruner | None = None


def skipped(index: int, replicate: int, estimate: float) -> Outcome:
    """Return the outcome that replaces the seeds of a trial that are skipped."""
    return Outcome(
        trial=index,
        replicate=replicate,
        state="pruned",
        reason=f"clearly worse than the best trial after {replicate} seed{'s' * (replicate > 1)}",
        figures={"estimate": estimate},
    )
