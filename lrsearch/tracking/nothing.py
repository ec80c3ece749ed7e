"""No tracking: `--tracking-uri none`."""

from __future__ import annotations

from collections.abc import Iterable

from lrsearch.contract import StudyFacts
from lrsearch.result import Result, Trial

__all__ = ["NoTracker"]


class NoTracker:
    """Takes everything and keeps nothing."""

    uri: str | None = None
    run_id: str | None = None
    missed = 0

    def start(self, facts: StudyFacts, trials: Iterable[Trial]) -> None:
        """Does nothing."""

    def trial_ended(self, trial: Trial) -> None:
        """Does nothing."""

    def finish(self, result: Result, state: str) -> None:
        """Does nothing."""
