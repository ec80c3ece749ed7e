"""`Contender`: a schedule that was trained on fresh seeds, as a frozen record."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrsearch.codec import Line
from lrsearch.schedule import Schedule
from lrsearch.stats import bca_interval, mean, mean_interval
from lrsearch.trace import Trace

#: Names of the searched schedule, of the user's current one at its own peak and at a tuned one,
#: and of the default schedule at its usual peak.
SEARCHED, CURRENT, CURRENT_TUNED, DEFAULT = "searched", "current", "current, tuned", "default"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A schedule in a comparison, with its values on fresh seeds.

    Attributes:
        name: `trial 71`, or the name of a baseline.
        schedule: the schedule with its tuned peak.
        values: value of each seed; None if the run diverged.
        peaks: the peaks at which it was run on selection seeds or in the search.
        selection: mean value at each of these peaks; None if every run diverged.
        estimate: value at the chosen peak on the selection seeds; None if it is not known.
        remainder: expected gain of the unknown best peak over the chosen one; 0 if its own peak
            was not tuned.
        losses: training curves of the reported runs, one per seed.

    Raises:
        ValueError: there is no peak, or the numbers of peaks and selection values differ.
    """

    name: Line
    schedule: Schedule
    values: tuple[float | None, ...]
    peaks: tuple[float, ...]
    selection: tuple[float | None, ...]
    estimate: float | None = None
    remainder: float = 0.0
    losses: tuple[Trace, ...] = ()

    def __post_init__(self) -> None:
        if not self.peaks or len(self.peaks) != len(self.selection):
            raise ValueError(
                "a contender needs at least one peak, and one selection value per peak"
            )

    @property
    def array(self) -> np.ndarray:
        """The values, shape `[n]`; infinite for a seed that diverged."""
        return np.array([math.inf if v is None else v for v in self.values], dtype=np.float64)

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return sum(value is None for value in self.values)

    @property
    def value(self) -> float | None:
        """Mean over the seeds that finished; None if no seed finished."""
        finite = [value for value in self.values if value is not None]
        return mean(finite) if finite else None

    @property
    def median(self) -> float | None:
        """Median over all seeds, where a diverged seed counts as the worst."""
        with np.errstate(over="ignore"):
            middle = float(np.median(self.array))
        return middle if math.isfinite(middle) else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % t interval of the mean; None if a seed diverged or there is only one seed."""
        return None if self.diverged else mean_interval(self.array)

    @property
    def bca(self) -> tuple[float, float] | None:
        """95 % BCa bootstrap interval of the mean; None in the same cases as `interval`."""
        return None if self.diverged else bca_interval(self.array)

    @property
    def at_edge(self) -> bool:
        """True if the chosen peak is not between two others."""
        known = {value for value in self.selection if value is not None}
        return len(known) > 1 and not self.peaks[0] < self.schedule.peak < self.peaks[-1]
