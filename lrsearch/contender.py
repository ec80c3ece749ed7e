"""`Contender`: a schedule that was measured on fresh seeds, as a frozen record."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrsearch.codec import Line
from lrsearch.schedule import Schedule
from lrsearch.stats import bca_interval, mean, mean_interval
from lrsearch.trace import Trace


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A schedule that was measured on fresh seeds.

    Attributes:
        name: `trial 71`, or a baseline's.
        schedule: with its tuned peak.
        values: by seed; None where it diverged.
        peaks: the grid on which its peak was tuned.
        selection: mean value at each of them on the selection seeds on which all were tried; None
            where every seed diverged.
        losses: training curves of the reported runs by seed.

    Raises:
        ValueError: there are no peaks, or not as many as their values.
    """

    name: Line
    schedule: Schedule
    values: tuple[float | None, ...]
    peaks: tuple[float, ...]
    selection: tuple[float | None, ...]
    losses: tuple[Trace, ...] = ()

    def __post_init__(self) -> None:
        if not self.peaks or len(self.peaks) != len(self.selection):
            raise ValueError(
                "a contender has a value for each of its peaks, and at least one peak"
            )

    @property
    def array(self) -> np.ndarray:
        """The values, infinite where a seed diverged, shape `[n]`."""
        return np.array([math.inf if v is None else v for v in self.values], dtype=np.float64)

    @property
    def diverged(self) -> int:
        """How many seeds diverged."""
        return sum(value is None for value in self.values)

    @property
    def value(self) -> float | None:
        """The mean over the seeds that finished; None where none did."""
        finite = [value for value in self.values if value is not None]
        return mean(finite) if finite else None

    @property
    def median(self) -> float | None:
        """The median over all seeds, a diverged one counted as the worst."""
        with np.errstate(over="ignore"):
            middle = float(np.median(self.array))
        return middle if math.isfinite(middle) else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % t interval of the mean; None where a seed diverged or there is but one."""
        return None if self.diverged else mean_interval(self.array)

    @property
    def bca(self) -> tuple[float, float] | None:
        """95 % BCa bootstrap interval of the mean; None as for `interval`."""
        return None if self.diverged else bca_interval(self.array)

    @property
    def at_edge(self) -> bool:
        """Whether the best peak was the first or the last of the grid."""
        known = {value for value in self.selection if value is not None}
        return len(known) > 1 and self.schedule.peak in (self.peaks[0], self.peaks[-1])
