"""`Trace`: a curve of a run, as two columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lrsearch.codec import decode
from lrsearch.curves import round_half_up
from lrsearch.errors import is_finite


@dataclass(frozen=True)
class Trace:
    """A curve: values of a quantity at some updates.

    Attributes:
        updates: indices of updates, increasing, from 0 to T.
        values: one finite number per update.
    """

    updates: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, updates: Iterable[int], values: Iterable[float]) -> Trace:
        """Make a curve from the finite points."""
        pairs = zip(updates, values, strict=True)
        kept = [(int(u), float(v)) for u, v in pairs if is_finite(v)]
        return cls(tuple(u for u, _ in kept), tuple(v for _, v in kept))

    @classmethod
    def from_plain(cls, columns: Any) -> Trace:
        """Return the curve of which these are the `to_plain` columns.

        Raises:
            ValueError: these are not the updates and values of a curve.
        """
        updates, values = decode(tuple[tuple[int, ...], tuple[float, ...]], columns, "curve")
        if len(updates) != len(values):
            raise ValueError("a curve needs one value per update")
        return cls(updates, values)

    def to_plain(self) -> list[list[Any]]:
        """Return the two columns as lists, for JSON."""
        return [list(self.updates), list(self.values)]

    def thin(self, points: int) -> Trace:
        """Return at most `points` points, evenly spaced, with the first and the last."""
        n = len(self.updates)
        if n <= points:
            return self
        kept = [round_half_up(i * (n - 1) / (points - 1)) for i in range(points)]
        return Trace(tuple(self.updates[i] for i in kept), tuple(self.values[i] for i in kept))
