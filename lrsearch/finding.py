"""`Finding`: the result of an experiment, as frozen values: cases, figures and panels to plot.

A finding does not store a verdict. It stores in which cases a statement is true, and the verdict
is computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

#: Verdicts for true in all cases, in some, and in none.
VERDICTS = ("holds", "holds if", "does not hold as written")
STYLES = ("line", "points", "band")

Figure = float | tuple[float, float]


def _numbers(values: ArrayLike) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype=np.float64).ravel().tolist())


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve of a panel.

    Attributes:
        label: name in the legend.
        x, y: coordinates of the points, equally long.
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
    """One plot: axes with a title and curves.

    Attributes:
        title: title of the plot.
        x, y: labels of the axes, with units.
        lines: the curves, in drawing order.
        log_x, log_y: True for a logarithmic axis.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of an experiment about a statement.

    Attributes:
        cases: True or False by condition: whether the statement is true under it.
        figures: the finite numbers that decide; a pair is an interval.
        panels: plots of the numbers.
        variants: the same check under other conditions than the statement's. They are shown, but
            do not change the verdict.

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
        """One of `VERDICTS`, for a statement that is true in all, some or none of the cases."""
        true = sum(self.cases.values())
        return VERDICTS[0 if true == len(self.cases) else 1 if true else 2]
