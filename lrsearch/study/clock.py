"""`Clock`: the time of a storage, used to decide whether a worker is alive."""

from __future__ import annotations


class Clock:
    """The clock of a storage. This base class is that of a journal file, which has none.

    Attributes:
        silent: total seconds for which the storage has not answered.
    """

    silent = 0.0

    def clock(self) -> float | None:
        """Return the seconds on a clock that all processes share, or None if there is none."""
        return None

    def hurry(self) -> None:
        """Stop waiting for a storage that does not answer."""
