"""`Callback`: a base class for observers of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrsearch.outcome import Trial
from lrsearch.result import Result

if TYPE_CHECKING:
    from lrsearch.search.comparison_choice import Offer


class Callback:
    """An observer of a search. Its methods do nothing; override those that you need."""

    def planned(self, budget: str) -> None:
        """Handle how a budget of runs is divided, before the search begins.

        Args:
            budget: the numbers of runs, and what the comparison can show, in one line.
        """

    def begin(self, result: Result, total: int) -> None:
        """Handle the start of the search.

        Args:
            result: the result so far.
            total: number of trials of the search.
        """

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """Handle the end of a trial, which `result` includes."""

    def comparing(self, estimate: str, seconds: float, total: int, done: int) -> None:
        """Handle the start of a comparison.

        Args:
            estimate: the runs of the comparison, in one line.
            seconds: estimated time of the runs that are not done yet.
            total: number of runs.
            done: number of runs that are already done.
        """

    def compared_runs(self, done: int) -> None:
        """Handle the end of runs of the comparison; `done` is their total number."""

    def offered(self, offers: Sequence[Offer]) -> None:
        """Handle that further comparisons would take long, and are left to the user.

        Args:
            offers: the comparisons, the smallest first.
        """

    def waiting(self, what: str) -> None:
        """Handle that this process waits for `what`."""

    def stopping(self) -> None:
        """Handle a signal, before running trials are released and records are saved."""
