"""Points of a space as vectors in the unit cube, for models that need distances."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lrsearch.ranges import Choices, Range, Value
from lrsearch.schedule import FIELDS
from lrsearch.space import Space

#: Coordinate of a chosen value; two different choices have the distance 1.
CHOSEN = 1 / math.sqrt(2.0)


class UnitCube:
    """The vectors of a space: one coordinate per range, one per value of a choice.

    Args:
        space: the space.

    Attributes:
        dimensions: number of coordinates.
        smooth: True for each coordinate that may have any value in [0, 1], shape `[d]`.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        smooth: list[bool] = []
        self._groups: dict[str, slice] = {}
        for name, entry in space.free.items():
            width = len(entry.values) if isinstance(entry, Choices) else 1
            self._groups[name] = slice(len(smooth), len(smooth) + width)
            whole = FIELDS[name].kind == "int"
            free = isinstance(entry, Range) and entry.step is None and not whole
            smooth += [free] * width
        self.dimensions = len(smooth)
        self.smooth = np.array(smooth, dtype=bool)

    def encode(self, point: Mapping[str, Value]) -> np.ndarray:
        """Return the vector of a point, shape `[d]`."""
        x = np.zeros(self.dimensions)
        for name, entry in self._space.free.items():
            group = self._groups[name]
            if isinstance(entry, Choices):
                x[group.start + entry.values.index(point[name])] = CHOSEN
            else:
                whole = FIELDS[name].kind == "int"
                x[group.start] = entry.place(float(point[name]), whole=whole)
        return x

    def decode(self, x: np.ndarray) -> dict[str, Value]:
        """Return the point of a vector."""
        unit = {}
        for name, entry in self._space.free.items():
            group = self._groups[name]
            if isinstance(entry, Choices):
                unit[name] = (int(np.argmax(x[group])) + 0.5) / len(entry.values)
            else:
                unit[name] = min(max(float(x[group.start]), 0.0), 1.0)
        return self._space.at(unit)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return random vectors of points, shape `[count, d]`."""
        x = rng.random((count, self.dimensions))
        self._choose(x, rng, np.ones(count, dtype=bool))
        return self.snap(x)

    def draw_near(
        self, rng: np.random.Generator, count: int, centre: np.ndarray, radius: float
    ) -> np.ndarray:
        """Return random vectors of points around a centre; choices change with `radius`."""
        x = centre + rng.uniform(-radius, radius, (count, self.dimensions))
        x = np.clip(x, 0.0, 1.0)
        for name, entry in self._space.free.items():
            if isinstance(entry, Choices):
                x[:, self._groups[name]] = centre[self._groups[name]]
        self._choose(x, rng, rng.random(count) < radius)
        return self.snap(x)

    def snap(self, x: np.ndarray) -> np.ndarray:
        """Return vectors whose coordinates are those of points, shape `[m, d]`."""
        if self.smooth.all():
            return x
        x = x.copy()
        for name, entry in self._space.free.items():
            at = self._groups[name].start
            if isinstance(entry, Range) and not self.smooth[at]:
                whole = FIELDS[name].kind == "int"
                values = [entry.at(min(max(u, 0.0), 1.0), whole=whole) for u in x[:, at].tolist()]
                x[:, at] = [entry.place(float(value), whole=whole) for value in values]
        return x

    def _choose(self, x: np.ndarray, rng: np.random.Generator, rows: np.ndarray) -> None:
        """Draw the choices of some rows anew."""
        for name, entry in self._space.free.items():
            if isinstance(entry, Choices):
                chosen = rng.integers(len(entry.values), size=len(x))
                group = self._groups[name]
                drawn = np.eye(len(entry.values))[chosen] * CHOSEN
                x[rows, group] = drawn[rows]
