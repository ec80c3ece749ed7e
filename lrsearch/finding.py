"""`Finding`: what an experiment found, as frozen values: cases, figures and panels to draw.

A finding stores no verdict. It stores in which cases a statement came out true, and the verdict
follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

#: True in every case, in some, in none.
VERDICTS = ("holds", "holds if", "does not hold as written")
STYLES = ("line", "points", "band")

Figure = float | tuple[float, float]


def _numbers(values: ArrayLike) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype=np.float64).ravel().tolist())


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve of a panel.

    Attributes:
        label: its name in the legend.
        x, y: its points, equally many.
        style: `line`, `points`, or `band`: a line within an interval.
        low, high: the interval at every point (band only).

    Raises:
        ValueError: the style is unknown, or the numbers of points differ.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: str = "line"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high"):
            object.__setattr__(self, name, _numbers(getattr(self, name)))
        if self.style not in STYLES:
            raise ValueError(f"style is {self.style!r}; known: {', '.join(STYLES)}")
        wanted = {len(self.x)} if self.style == "band" else {0}
        if len(self.x) != len(self.y) or {len(self.low), len(self.high)} != wanted:
            raise ValueError(f"line {self.label!r} has unequal numbers of points")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: titled axes and curves.

    Attributes:
        title: above the axes.
        x, y: what the axes show, with the unit.
        lines: the curves, in drawing order.
        log_x, log_y: whether an axis is logarithmic.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an experiment found about a statement.

    Attributes:
        cases: conditions that a reader understands; whether the statement came out true in each.
        figures: the numbers that decided, finite; a pair is an interval.
        panels: pictures of them.
        variants: the same check under premises that the statement does not make. Shown, but
            without a say in the verdict.

    Raises:
        ValueError: there is no case, or a figure is not finite.
    """

    cases: Mapping[str, bool]
    figures: Mapping[str, Figure]
    panels: tuple[Panel, ...] = ()
    variants: Mapping[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError("a finding needs at least one case")
        figures: dict[str, Figure] = {}
        for name, value in self.figures.items():
            pair = isinstance(value, tuple)
            numbers = _numbers(value)
            if len(numbers) != (2 if pair else 1) or not all(map(math.isfinite, numbers)):
                raise ValueError(f"figure {name!r} is {value!r}; give a finite number or a pair")
            figures[name] = (numbers[0], numbers[1]) if pair else numbers[0]
        object.__setattr__(self, "figures", MappingProxyType(figures))
        for name in ("cases", "variants"):
            marks = {key: bool(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(marks))

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`: whether the statement is true in all, some or none of the cases."""
        true = sum(self.cases.values())
        return VERDICTS[0 if true == len(self.cases) else 1 if true else 2]
