"""`Outcome`, `Trial`, `Result`: how runs, trials and studies ended, as frozen records.

A run that diverges is an outcome like any other; failure is a value here, not an exception.
Infinite and NaN numbers never enter a record, so what is written as JSON reads back as it was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lrsearch.comparison import Comparison
from lrsearch.errors import NothingFinished, RequestError, one_line
from lrsearch.schedule import FIELDS, Budget, Schedule
from lrsearch.stats import mean
from lrsearch.trace import Trace

#: How a run or a trial may end.
STATES = ("finished", "diverged", "pruned", "failed")

#: Points of a curve that the study's storage keeps.
STORED_POINTS = 64


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one run ended.

    Attributes:
        trial, replicate: which run it was.
        state: one of `STATES`.
        value: what is minimised, in the objective's unit; None unless the run finished.
        updates: how many updates were done.
        reason: why it did not finish, one line.
        details: of a failure, its traceback.
        traces: curves by name; `loss` is the training curve.
        figures: further finite numbers by name.
        seconds: wall time; a population's runs share their program's time equally.
        probing: what of it was spent on diagnostics of the landscape.
        retries: how often its process had died before.

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
            raise ValueError(f"a {self.state} outcome with value {self.value}")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value {self.value} is not finite; the outcome is `diverged`")
        object.__setattr__(self, "reason", one_line(self.reason))
        object.__setattr__(self, "traces", MappingProxyType(dict(self.traces)))
        figures = {name: float(figure) for name, figure in self.figures.items()}
        object.__setattr__(self, "figures", MappingProxyType(figures))

    def thin(self, points: int = STORED_POINTS) -> Outcome:
        """Return the outcome with at most so many points of each curve."""
        traces = {name: trace.thin(points) for name, trace in self.traces.items()}
        return dataclasses.replace(self, traces=traces)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One schedule of a study and how its runs ended.

    Attributes:
        index: lrsearch's own count from 0.
        schedule: the recipe.
        outcomes: one a replicate, in their order, up to the first that did not finish.

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

    @property
    def state(self) -> str:
        """`finished` where every run did, else the gravest of what happened."""
        states = {outcome.state for outcome in self.outcomes}
        return next(s for s in ("failed", "diverged", "pruned", "finished") if s in states)

    @property
    def value(self) -> float | None:
        """The mean over the replicates; None unless all of them finished."""
        values = [o.value for o in self.outcomes if o.value is not None]
        return mean(values) if len(values) == len(self.outcomes) else None

    @property
    def estimate(self) -> float | None:
        """The value; of a trial that was given up after some seeds, what it is thought worth."""
        pruned = (o.figures.get("estimate") for o in self.outcomes if o.state == "pruned")
        return next(pruned, None) if self.state == "pruned" else self.value

    @property
    def reason(self) -> str:
        """Why the first run that did not finish ended."""
        return next((o.reason for o in self.outcomes if o.state != "finished"), "")

    @property
    def details(self) -> str:
        """The traceback of the first run that failed."""
        return next((o.details for o in self.outcomes if o.details), "")

    @property
    def seconds(self) -> float:
        """Wall time of all runs together."""
        return math.fsum(o.seconds for o in self.outcomes)

    @property
    def retries(self) -> int:
        """How often a process that was at it had died."""
        return max(o.retries for o in self.outcomes)

    @property
    def probing(self) -> float:
        """What of `seconds` was spent on diagnostics of the landscape."""
        return math.fsum(o.probing for o in self.outcomes)

    @property
    def diagnostics(self) -> dict[str, float]:
        """Figures of the runs, each averaged over the replicates that have it.

        What lrsearch measures itself is listed in `lrsearch.diagnostics.names`.
        """
        names = sorted({name for o in self.outcomes for name in o.figures})
        groups = {n: [o.figures[n] for o in self.outcomes if n in o.figures] for n in names}
        return {n: mean(values) for n, values in groups.items()}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a search found.

    Attributes:
        study, objective, space, unit: names, and the unit of the value.
        budget: of every run.
        seconds: wall time of the search's call, not of earlier ones that it continued; of a study
            that was loaded, that of its runs together.
        storage, tracking_uri: where the study and its tracking live.
        run_id: MLflow's parent run, or None.
        trials: by index.
        optimum: the best possible value where it is known.
        enqueued: number of enqueued trials, which come first; the default schedule is the next.
        comparison: how the best one compares on fresh seeds, once that is known.
        source: what answered, where it was found in this process; `lrsearch.compare` uses it.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> result.counts["finished"] + result.counts["diverged"]
        3
        >>> result.to_frame()["value"].idxmin() == result.best.index
        True
    """

    study: str
    objective: str
    space: str
    unit: str
    budget: Budget
    seconds: float
    storage: str
    tracking_uri: str | None
    run_id: str | None
    trials: tuple[Trial, ...]
    optimum: float | None = None
    enqueued: int = 0
    comparison: Comparison | None = None
    source: Any = field(default=None, repr=False, compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended how; the keys are exactly `STATES`."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in STATES}

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, best first; equal values in the order of their index."""
        finished = [(t.value, t.index, t) for t in self.trials if t.value is not None]
        return [trial for _, _, trial in sorted(finished, key=lambda row: row[:2])]

    def trial(self, index: int) -> Trial:
        """The trial of an index.

        Raises:
            RequestError: there is none.
        """
        for trial in self.trials:
            if trial.index == index:
                return trial
        raise RequestError(
            f"study {self.study} has no trial {index}; its {len(self.trials)} trials are numbered "
            "from 0"
        )

    @property
    def best(self) -> Trial:
        """The trial of the lowest value.

        Raises:
            NothingFinished: there is none.
        """
        if not self.ranked:
            raise NothingFinished(self._why_nothing_finished())
        return self.ranked[0]

    @property
    def chosen(self) -> Schedule:
        """What the study stands for: the comparison's choice, else the best trial's schedule."""
        return self.best.schedule if self.comparison is None else self.comparison.best.schedule

    def _why_nothing_finished(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n)
        said = f"no trial of study {self.study} finished ({counts or 'none ended'})"
        if not self.trials:
            return f"{said}; the same `lrsearch tune` goes on"
        last = f"{said}, the last: {self.trials[-1].reason}"
        if self.counts["failed"]:
            return f"{last}; when that is mended, search under another --study name"
        return f"{last}; lower the peak's range with --set peak=LOW..HIGH"

    @property
    def firsts(self) -> dict[str, Trial]:
        """The trials that came first, by name: enqueued schedules and the default one."""
        known = {trial.index: trial for trial in self.trials}
        names = [f"enqueued {i + 1}" if i else "enqueued" for i in range(self.enqueued)]
        return {n: known[i] for i, n in enumerate([*names, "default"]) if i in known}

    def to_frame(self) -> Any:
        """The trials as a pandas DataFrame, one row a trial, by index.

        Columns: `state`, `value`, `seconds`, `retries`, `reason`, the schedule's fields, and
        diagnostics.
        """
        import pandas as pd  # arrives with MLflow, and takes half a second

        own = ("state", "value", "seconds", "retries", "reason")
        rows = [
            {
                "trial": trial.index,
                **{name: getattr(trial, name) for name in own},
                **trial.schedule.to_dict(),
                **trial.diagnostics,
            }
            for trial in self.trials
        ]
        names = None if rows else ["trial", *own, *FIELDS]
        return pd.DataFrame(rows, columns=names).set_index("trial").astype({"value": "float64"})

    @property
    def reference(self) -> dict[str, float] | None:
        """The best possible value, and the best found as a ratio to it, where it is known."""
        if self.optimum is None or self.best.value is None:
            return None
        return {"optimum": self.optimum, "ratio": self.best.value / self.optimum}

    def to_dict(self) -> dict[str, Any]:
        """The object that `--json` prints.

        Raises:
            NothingFinished: no trial finished, so there is no best one.
        """
        best = self.best
        return {
            "study": self.study,
            "objective": self.objective,
            "space": self.space,
            "unit": self.unit,
            "steps": self.budget.steps,
            "seconds": round(self.seconds, 3),
            "storage": self.storage,
            "tracking_uri": self.tracking_uri,
            "run_id": self.run_id,
            "trials": self.counts,
            "best": {
                "trial": best.index,
                "value": best.value,
                "schedule": best.schedule.to_dict(),
                "diagnostics": best.diagnostics,
            },
            "reference": self.reference,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }
