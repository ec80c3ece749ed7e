"""`Outcome`, `Trial`, `Result`: results of runs, trials and studies, as frozen records.

A run that diverges is an outcome like any other; failure is a value here, not an exception.
Records contain no infinite or NaN numbers, so they survive a round trip through JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lrsearch.comparison import Comparison
from lrsearch.errors import NothingFinished, RequestError, given, is_finite, one_line
from lrsearch.schedule import FIELDS, Budget, Schedule
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


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a study.

    Attributes:
        study, objective, space, unit: names, and the unit of the value.
        budget: steps and batch of every run.
        seconds: wall time of this call, without earlier calls that it continued; of a study that
            was loaded, the time of all its runs.
        storage, tracking_uri: where the study is stored and tracked.
        run_id: MLflow's parent run, or None.
        trials: trials in the order of their index.
        command: the command line that was run, with its placeholders; empty for other objectives.
        optimum: the best possible value if it is known.
        enqueued: number of enqueued trials, which come first; the default schedule is the next.
        comparison: the comparison on fresh seeds, or None.
        source: the objective, if it was loaded in this process; `lrsearch.compare` uses it.

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
    command: str = ""
    optimum: float | None = None
    enqueued: int = 0
    comparison: Comparison | None = None
    source: Any = field(default=None, repr=False, compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by state; the keys are exactly `STATES`."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in STATES}

    @property
    def counted(self) -> int:
        """Number of trials that count towards the requested number: all that did not fail."""
        return len(self.trials) - self.counts["failed"]

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, best first; equal values are sorted by index."""
        finished = [(t.value, t.index, t) for t in self.trials if t.value is not None]
        return [trial for _, _, trial in sorted(finished, key=lambda row: row[:2])]

    def trial(self, index: int) -> Trial:
        """Return the trial of an index.

        Raises:
            RequestError: there is no such trial.
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
        """The trial with the lowest value.

        Raises:
            NothingFinished: no trial finished.
        """
        if not self.ranked:
            raise NothingFinished(self._why_nothing_finished())
        return self.ranked[0]

    @property
    def chosen(self) -> Schedule:
        """The schedule that the comparison chose; without a comparison, the best trial's."""
        return self.best.schedule if self.comparison is None else self.comparison.best.schedule

    def _why_nothing_finished(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n)
        said = f"no trial of study {self.study} finished ({counts or 'no trial ended'})"
        if not self.trials:
            return f"{said}; run the same `lrsearch tune` command again to continue"
        last = f"{said}; reason of the last: {self.trials[-1].reason}"
        if self.counts["failed"]:
            return f"{last}; fix the error and run the same command again; it retries them"
        lower = '`settings={"peak": {"low": LOW, "high": HIGH}}`'
        return (
            f"{last}; lower the range of the peak with {lower}, or, if healthy runs have such "
            'losses, set loss_decreases=False in the objective or `pruner="none"` here'
        )

    @property
    def firsts(self) -> dict[str, Trial]:
        """The trials that came first, by name: enqueued schedules and the default one."""
        known = {trial.index: trial for trial in self.trials}
        names = [f"enqueued {i + 1}" if i else "enqueued" for i in range(self.enqueued)]
        return {n: known[i] for i, n in enumerate([*names, "default"]) if i in known}

    def to_frame(self) -> Any:
        """Return the trials as a pandas DataFrame, one row per trial.

        Columns: `state`, `value`, `seconds`, `retries`, `reason`, the schedule's fields, and
        diagnostics.
        """
        import pandas as pd  # installed with MLflow; the import takes half a second

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
        """The best possible value, and the ratio of the best value to it; None if unknown."""
        if self.optimum is None or self.best.value is None:
            return None
        return {"optimum": self.optimum, "ratio": self.best.value / self.optimum}

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `--json` prints.

        Raises:
            NothingFinished: no trial finished.
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
