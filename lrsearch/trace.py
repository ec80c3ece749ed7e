"""`Trace`: a curve of a run, as two columns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lrsearch.codec import decode
from lrsearch.curves import round_half_up


@dataclass(frozen=True)
class Trace:
    """A quantity by update.

    Attributes:
        updates: increasing, each from 0 to T.
        values: as many finite numbers.
    """

    updates: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, updates: Iterable[int], values: Iterable[float]) -> Trace:
        """Keeps the finite points."""
        pairs = zip(updates, values, strict=True)
        kept = [(int(u), float(v)) for u, v in pairs if math.isfinite(v)]
        return cls(tuple(u for u, _ in kept), tuple(v for _, v in kept))

    @classmethod
    def from_plain(cls, columns: Any) -> Trace:
        """Read what `to_plain` returns.

        Raises:
            ValueError: these are not the updates and the values of a curve.
        """
        updates, values = decode(tuple[tuple[int, ...], tuple[float, ...]], columns, "curve")
        if len(updates) != len(values):
            raise ValueError("a curve without a value for every update")
        return cls(updates, values)

    def to_plain(self) -> list[list[Any]]:
        """Return the two columns as lists, for JSON."""
        return [list(self.updates), list(self.values)]

    def thin(self, points: int) -> Trace:
        """At most `points` of them, evenly by index, first and last included."""
        n = len(self.updates)
        if n <= points:
            return self
        kept = [round_half_up(i * (n - 1) / (points - 1)) for i in range(points)]
        return Trace(tuple(self.updates[i] for i in kept), tuple(self.values[i] for i in kept))
