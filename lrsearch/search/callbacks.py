"""`Callback`: who wants to see a search go on."""

from __future__ import annotations

from lrsearch.result import Result, Trial


class Callback:
    """Is told what happens when it happens, and does nothing. Derive a class and override."""

    def begin(self, result: Result, total: int) -> None:
        """The search starts from what the study already holds, and goes on to `total` trials."""

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """One more trial has ended; `result` counts it."""

    def comparing(self, bill: str, seconds: float, total: int, done: int) -> None:
        """A comparison of `total` runs starts, of which `done` are known already.

        Args:
            bill: what it will measure, in one line.
            seconds: what the other runs will take, about.
            total: runs in all.
            done: known already.
        """

    def compared_runs(self, done: int) -> None:
        """So many runs of the comparison have ended."""

    def declined(self, bill: str, seconds: float) -> None:
        """A comparison was left out because it would cost too much; arguments as above."""

    def waiting(self, what: str) -> None:
        """There is nothing to do here until something has ended elsewhere."""

    def stopping(self) -> None:
        """A signal came; running trials are released and everything is written."""
