"""`Callback`: a base class for observers of a search."""

from __future__ import annotations

from lrsearch.outcome import Trial
from lrsearch.result import Result


class Callback:
    """An observer of a search. Its methods do nothing; override those that you need."""

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

    def declined(self, estimate: str, seconds: float) -> None:
        """Handle that the comparison is skipped because it would take too long.

        Args:
            estimate: the runs of the comparison, in one line.
            seconds: estimated time of these runs.
        """

    def waiting(self, what: str) -> None:
        """Handle that this process waits for `what`."""

    def stopping(self) -> None:
        """Handle a signal, before running trials are released and records are saved."""
