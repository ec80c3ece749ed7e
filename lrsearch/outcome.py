"""`Outcome` and `Trial`: how a run and a trial ended, as frozen values."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from lrsearch.errors import given, is_finite, one_line
from lrsearch.schedule import Schedule
from lrsearch.stats import mean
from lrsearch.trace import Trace

#: States in which a run or a trial may end.
STATES = ("finished", "diverged", "pruned", "failed")

#: Number of points of a curve that the study's storage keeps.
STORED_POINTS = 64


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one run.

    Attributes:
        trial, replicate: indices of the run.
        state: one of `STATES`.
        value: the number that is minimised, in the objective's unit; None unless the run finished.
        updates: number of steps done.
        reason: why the run did not finish, one line.
        details: the traceback of a failure.
        traces: curves by name; `loss` is the training curve.
        figures: further numbers by name; those that are not finite are left out.
        seconds: wall time; the runs of a population share its time equally.
        probing: part of `seconds` spent on diagnostics of the landscape.
        retries: number of earlier attempts whose process died.

    Example:
        >>> lrsearch.Outcome(trial=0, replicate=0, state="finished", value=0.5, updates=100).value
        0.5
    """

    trial: int
    replicate: int
    state: str
    value: float | None = None
    updates: int = 0
    reason: str = ""
    details: str = ""
    traces: Mapping[str, Trace] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    probing: float = 0.0
    retries: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if (self.state == "finished") != (self.value is not None):
            raise ValueError(
                f"a {self.state} outcome with value {self.value}; a value is required for "
                "`finished` and not allowed for other states"
            )
        if self.value is not None and not is_finite(self.value):
            raise ValueError(
                f"value {given(self.value)} is not finite; give the state `diverged` and no value"
            )
        object.__setattr__(self, "reason", one_line(self.reason))
        object.__setattr__(self, "traces", MappingProxyType(dict(self.traces)))
        figures = {n: float(x) for n, x in self.figures.items() if is_finite(x)}
        object.__setattr__(self, "figures", MappingProxyType(figures))

    def thin(self, points: int = STORED_POINTS) -> Outcome:
        """Return the outcome with at most `points` points per curve."""
        traces = {name: trace.thin(points) for name, trace in self.traces.items()}
        return dataclasses.replace(self, traces=traces)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One schedule of a study and the outcomes of its runs.

    Attributes:
        index: index of the trial, from 0.
        schedule: the schedule.
        outcomes: one per replicate in order, up to the first that did not finish.

    Example:
        >>> ended = lrsearch.Outcome(trial=7, replicate=0, state="finished", value=0.5)
        >>> schedule = lrsearch.Schedule(peak=0.1)
        >>> trial = lrsearch.Trial(index=7, schedule=schedule, outcomes=(ended,))
        >>> trial.state, trial.value
        ('finished', 0.5)
    """

    index: int
    schedule: Schedule
    outcomes: tuple[Outcome, ...]

    @functools.cached_property
    def state(self) -> str:
        """`finished` if every run finished, else the worst state of a run."""
        states = {outcome.state for outcome in self.outcomes}
        return next(s for s in ("failed", "diverged", "pruned", "finished") if s in states)

    @functools.cached_property
    def value(self) -> float | None:
        """Mean over the replicates; None unless all of them finished."""
        values = [o.value for o in self.outcomes if o.value is not None]
        return mean(values) if len(values) == len(self.outcomes) else None

    @property
    def estimate(self) -> float | None:
        """The value; for a pruned trial, the value that was estimated from its seeds so far."""
        pruned = (o.figures.get("estimate") for o in self.outcomes if o.state == "pruned")
        return next(pruned, None) if self.state == "pruned" else self.value

    @property
    def reason(self) -> str:
        """Reason of the first run that did not finish."""
        return next((o.reason for o in self.outcomes if o.state != "finished"), "")

    @property
    def details(self) -> str:
        """Traceback of the first run that failed."""
        return next((o.details for o in self.outcomes if o.details), "")

    @property
    def seconds(self) -> float:
        """Wall time of all runs together, in seconds."""
        return math.fsum(o.seconds for o in self.outcomes)

    @property
    def retries(self) -> int:
        """Number of attempts whose process died."""
        return max(o.retries for o in self.outcomes)

    @property
    def probing(self) -> float:
        """Part of `seconds` spent on diagnostics of the landscape."""
        return math.fsum(o.probing for o in self.outcomes)

    @property
    def diagnostics(self) -> dict[str, float]:
        """Figures of the runs, each averaged over the replicates that have it.

        `lrsearch.diagnostics.names` lists the figures that lrsearch measures itself.
        """
        names = sorted({name for o in self.outcomes for name in o.figures})
        groups = {n: [o.figures[n] for o in self.outcomes if n in o.figures] for n in names}
        return {n: mean(values) for n, values in groups.items()}


def first_of_each(trials: Sequence[Trial]) -> list[Trial]:
    """Return the first trial of every schedule, in their order."""
    found: dict[Schedule, Trial] = {}
    for trial in trials:
        found.setdefault(trial.schedule, trial)
    return list(found.values())
