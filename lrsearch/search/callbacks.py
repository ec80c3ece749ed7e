"""Who wants to see a search go on."""

from __future__ import annotations

from typing import Protocol

from lrsearch.result import Result, Trial


class Callback(Protocol):
    """Is told what happens, when it happens."""

    def begin(self, result: Result, total: int) -> None:
        """The search starts from what the study already holds, and goes on to `total` trials."""
        ...

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """One more trial has ended; `result` counts it."""
        ...

    def comparing(self, bill: str, seconds: float, total: int, done: int) -> None:
        """A comparison of `total` runs starts, of which `done` are known already.

        Args:
            bill: what it will measure, in one line.
            seconds: what the other runs will take, about.
            total: runs in all.
            done: known already.
        """
        ...

    def compared_runs(self, done: int) -> None:
        """So many runs of the comparison have ended."""
        ...

    def declined(self, bill: str, seconds: float) -> None:
        """A comparison was left out because it would cost too much; arguments as above."""
        ...

    def waiting(self, what: str) -> None:
        """There is nothing to do here until something has ended elsewhere."""
        ...

    def stopping(self) -> None:
        """A signal came; what is under way is given back and everything written."""
        ...


class NoCallback:
    """Nobody watches."""

    def begin(self, result: Result, total: int) -> None:
        """Does nothing."""

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """Does nothing."""

    def comparing(self, bill: str, seconds: float, total: int, done: int) -> None:
        """Does nothing."""

    def compared_runs(self, done: int) -> None:
        """Does nothing."""

    def declined(self, bill: str, seconds: float) -> None:
        """Does nothing."""

    def stopping(self) -> None:
        """Does nothing."""

    def waiting(self, what: str) -> None:
        """Does nothing."""
