"""The contract between a search and what it drives: runs in, outcomes out.

An objective is a stream. It pulls as many runs as it has room for and yields each outcome as it
ends, in any order; the engine decides how many may be in flight, joins the runs of a trial and
tells the study. A function pulls one at a time; an exact proxy answers all it is given in one
array operation; a population pulls one for every slot. The engine knows nothing of torch, and an
objective nothing of Optuna or MLflow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lrsearch.divergence import (
    describe_divergence,
    divergence,
    divergence_limit,
    divergence_window,
)
from lrsearch.errors import RequestError, RunStopped
from lrsearch.ranges import Entry
from lrsearch.result import Outcome, Result, Trace, Trial
from lrsearch.schedule import Plan
from lrsearch.space import Space

__all__ = ["Elastic", "Objective", "Run", "Runs", "Setup", "Tracker"]


class Run:
    """One Plan with one seed, handed to an objective.

    Attributes:
        trial, replicate: which run this is.
        seed: of everything that the run draws; shared by all trials of a replicate.
        plan: what to do at each update.
        stops: whether a run that has diverged ends at once; a non-finite loss always does.
        untrained: the value of an untrained model, where it is known.
        stopped: what `report` raised, once it has.

    Args:
        folder: where `folder` is to be; None where there is no study.
    """

    def __init__(
        self,
        *,
        trial: int,
        replicate: int,
        seed: int,
        plan: Plan,
        stops: bool = True,
        untrained: float | None = None,
        folder: Path | None = None,
    ) -> None:
        self.trial = trial
        self.replicate = replicate
        self.seed = seed
        self.plan = plan
        self.stops = stops
        self.untrained = untrained
        self.stopped: RunStopped | None = None
        self._folder = folder
        self._updates: list[int] = []
        self._losses: list[float] = []
        self._figures: dict[str, float] = {}
        self._window = divergence_window(len(plan))
        self._high = 0  # how many of the last `_window` losses are
        self._negative = False
        self._began = time.perf_counter()

    def to_dict(self) -> dict[str, Any]:
        """What another process needs to do this run, as a JSON object."""
        return {
            "trial": self.trial,
            "replicate": self.replicate,
            "seed": self.seed,
            "lr": self.plan.lr.tolist(),
            "batch": self.plan.batch.tolist(),
            "momentum": self.plan.momentum.tolist(),
            "stops": self.stops,
            "untrained": self.untrained,
            "folder": None if self._folder is None else str(self._folder.absolute()),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Run:
        """The inverse of `to_dict`."""
        lr, batch, momentum = (np.array(record[name]) for name in ("lr", "batch", "momentum"))
        return cls(
            trial=record["trial"],
            replicate=record["replicate"],
            seed=record["seed"],
            plan=Plan(lr=lr, batch=batch, momentum=momentum),
            stops=record["stops"],
            untrained=record["untrained"],
            folder=None if record["folder"] is None else Path(record["folder"]),
        )

    def restart(self) -> None:
        """Forgets what was reported: the run begins again at update 0."""
        self._updates, self._losses, self._figures = [], [], {}
        self._high, self._negative, self.stopped = 0, False, None

    @property
    def folder(self) -> Path:
        """A folder of this run's own, for checkpoints; a run that is begun again finds it.

        Raises:
            RequestError: the run belongs to no study.
        """
        if self._folder is None:
            raise RequestError("this run belongs to no study, so it has no folder; make your own")
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def report(self, t: int, loss: float) -> None:
        """Tells the loss of update t.

        Raises:
            RunStopped: the run is hopeless; let it pass.
            RequestError: there is no such update, or it was reported before.
        """
        if not (self._updates[-1] if self._updates else -1) < t < len(self.plan):
            raise RequestError(
                f"report of update {t} after {self._updates[-1] if self._updates else 'none'}; "
                f"this run has the updates 0 to {len(self.plan) - 1}, each reported at most once"
            )
        self._updates.append(t)
        self._losses.append(float(loss))
        self.stopped = self._judge()
        if self.stopped is not None:
            raise self.stopped

    def _judge(self) -> RunStopped | None:
        """Whether the latest report ends the run."""
        t, loss = self._updates[-1], self._losses[-1]
        if not math.isfinite(loss):
            return RunStopped("diverged", describe_divergence(t, loss))
        if self.stops and self._may_have_diverged():
            at = divergence(self._losses, len(self.plan), self.untrained)
            if at is not None:
                reason = describe_divergence(self._updates[at], self._losses[at])
                return RunStopped("diverged", reason)
        return None

    def _may_have_diverged(self) -> bool:
        """Whether half of the window is high, without which no median can be."""
        losses, window = self._losses, self._window
        limit = divergence_limit(losses[0], self.untrained)
        self._high += losses[-1] > limit
        self._negative = self._negative or losses[-1] < 0
        if len(losses) > window:
            self._high -= losses[-1 - window] > limit
        return not self._negative and len(losses) >= window <= 2 * self._high

    def note(self, name: str, value: float) -> None:
        """Keeps a further figure of the run, if it is finite."""
        if math.isfinite(value):
            self._figures[name] = float(value)

    def end(
        self,
        state: str,
        value: float | None = None,
        *,
        reason: str = "",
        details: str = "",
        seconds: float | None = None,
        updates: int | None = None,
        traces: Mapping[str, Trace] | None = None,
    ) -> Outcome:
        """The outcome of this run; a non-finite value makes it `diverged`.

        Args:
            state: one of `lrsearch.result.STATES`.
            value: of a finished run.
            reason: why it did not finish, one line.
            details: of a failure, its traceback.
            seconds: its share of the time; None is the time since it was made.
            updates: how many were done; None is all of them if it finished, else up to the last
                report.
            traces: further curves beside `loss`, which `report` collected.
        """
        if state == "finished" and (value is None or not math.isfinite(value)):
            state, reason = "diverged", f"the value at the end is {value}"
        if updates is None:
            reported = self._updates[-1] + 1 if self._updates else 0
            updates = len(self.plan) if state == "finished" else reported
        curves = {"loss": Trace.of(self._updates, self._losses)} if self._updates else {}
        return Outcome(
            trial=self.trial,
            replicate=self.replicate,
            state=state,
            value=value if state == "finished" else None,
            updates=updates,
            reason=reason,
            details=details,
            traces={**curves, **(traces or {})},
            figures=self._figures,
            seconds=time.perf_counter() - self._began if seconds is None else seconds,
        )


class Runs(Protocol):
    """Where an objective pulls its runs from.

    Attributes:
        slots: how many may be in flight.
    """

    slots: int

    def take(self, room: int) -> list[Run]:
        """At most `room` runs that may start now.

        An empty list means none now: yield an outcome, then ask again. An empty list with nothing
        in flight means the end.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an objective is, as far as a search must know.

    Attributes:
        name: what it is called.
        unit: of the value, for people.
        about: one line for people.
        steps, batch: the budget of a run where the user gives none.
        entries: range or value of the fields that shape-only spaces leave open: `peak` and, where
            the objective has one, `momentum`.
        habit_peak: the rate that one would try first, or None for the middle of the range.
        positive: whether values are positive, so that a sampler may model their logarithm.
        exact: whether one schedule always has one value, whatever the seed.
        untrained: the value of an untrained model, told to the sampler for a diverged trial.
        samples: the largest batch that it can draw, or None.
        slots: runs that it advances at once; 1 for functions and proxies, None where that is
            found when a study begins (`Elastic`).
        device: where it runs, for people.
        options: its own options and their values; part of the study's identity.
        version: raised when its values change.
    """

    name: str
    unit: str
    about: str = ""
    steps: int
    batch: int = 1
    entries: Mapping[str, Entry] = field(default_factory=dict)
    habit_peak: float | None = None
    positive: bool = False
    exact: bool = False
    untrained: float | None = None
    samples: int | None = None
    slots: int | None = 1
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    @property
    def momentum(self) -> float:
        """The momentum of schedules that name none: the objective's own value, else 0."""
        own = self.entries.get("momentum", 0.0)
        return float(own) if isinstance(own, int | float) else 0.0


class Objective(Protocol):
    """Whatever turns runs into outcomes; lower is better."""

    @property
    def setup(self) -> Setup:
        """What it is."""
        ...

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Pulls runs and yields each outcome as it ends, in any order."""
        ...

    def optimum(self, steps: int, batch: int) -> float | None:
        """The best possible value at a constant batch without momentum, where it is known."""
        ...


@runtime_checkable
class Elastic(Objective, Protocol):
    """An objective that finds out how many runs it advances at once best."""

    def fit(self, most: int, *, steps: int, batch: int, thorough: bool) -> int:
        """The number of slots to use, found by measuring; a study keeps it.

        Args:
            most: the largest that the search has a use for.
            steps: updates of a run.
            batch: samples of an update.
            thorough: whether to look for the fastest number, or only whether the usual one is
                better than a plain loop.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What a tracker is told of a study at its start.

    Attributes:
        study: its name.
        identity: tells it from an earlier study of the same name.
        setup: the objective's.
        space: with every entry resolved.
        steps, batch, seeds, seed: the budget and the seeds.
        trials: how many are asked for in total.
        slots: runs in flight.
        sampler: how trials are chosen.
        storage: where the study lives.
    """

    study: str
    identity: str
    setup: Setup
    space: Space
    steps: int
    batch: int
    seeds: int
    seed: int
    trials: int
    slots: int
    sampler: str
    storage: str


class Tracker(Protocol):
    """A view of the study for people. It may fail without harm: the storage is the truth."""

    uri: str | None
    run_id: str | None

    def start(self, facts: StudyFacts) -> None:
        """Opens the study's page."""
        ...

    def trial_ended(self, trial: Trial) -> None:
        """Takes a trial; returns at once."""
        ...

    def finish(self, result: Result, state: str) -> None:
        """Writes what is left. `state` is `finished`, `interrupted` or `failed`."""
        ...
