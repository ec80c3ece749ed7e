"""`Clock`: the time of a storage, by which its processes judge each other's silence."""

from __future__ import annotations


class Clock:
    """A storage's own time; a file has none: what its processes share is the file alone.

    Attributes:
        silent: seconds for which it has not answered, all in all.
    """

    silent = 0.0

    def clock(self) -> float | None:
        """Return the seconds by a clock that all its processes share; None where there is none."""
        return None

    def hurry(self) -> None:
        """Wait no longer where it does not answer."""
