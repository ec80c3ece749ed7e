"""The contract between a search and an objective: runs in, outcomes out.

An objective is a stream. It pulls the runs that it can start and yields each outcome when it ends,
in any order. The search decides how many runs may be in flight, combines the runs of a trial
and stores it. A function pulls one run at a time; an exact proxy computes many in one array
operation; a population pulls one for every slot. The search does not depend on torch, and an
objective does not depend on Optuna or MLflow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lrsearch.landscape import Landscape
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.ranges import Entry
from lrsearch.run import Run
from lrsearch.schedule import Budget

#: Levels of diagnostics: none; those of the schedule alone; those that take at most 10 % extra
#: compute; all, which take up to about 100 % extra compute. In runs of fewer than about 70 steps
#: they take more, because one complete measurement takes longer than the run.
LEVELS = ("none", "schedule", "cheap", "full")


class Probes:
    """Measurements of runs besides their losses. This class measures nothing; derive from it.

    Probes never change a run.

    Attributes:
        level: one of `LEVELS`.
    """

    level = LEVELS[0]

    @property
    def looks(self) -> bool:
        """True if runs are measured during training."""
        return False

    def samples(self, batch: int, available: int) -> int:
        """Return the number of samples over which the loss of a landscape is averaged.

        Args:
            batch: batch size of the first step.
            available: number of training samples.
        """
        return 0

    def norms(self, updates: int, batch: int) -> frozenset[int]:
        """Return the steps at which norms of gradient, update and deviation are measured."""
        return frozenset()

    def agenda(self, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
        """Return the parts of the landscape to measure, by the number of steps done."""
        return {}

    def look(self, landscape: Landscape, parts: frozenset[str]) -> Mapping[str, list[float]]:
        """Measure a landscape, and return numbers by name, one per run."""
        return {}

    def complete(self, setup: Setup, plan: Plan, outcome: Outcome) -> Outcome:
        """Return an outcome with the diagnostics of its schedule and curves added."""
        return outcome


class Runs(Protocol):
    """The source of an objective's runs.

    Attributes:
        slots: number of runs that may be in flight.
        probes: measurements besides losses.
    """

    slots: int
    probes: Probes

    def take(self, room: int) -> list[Run]:
        """Return at most `room` runs that may start now.

        An empty list means that no run may start now: yield an outcome, then ask again. An empty
        list while no run is in flight means the end.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The description of an objective for a search.

    Attributes:
        name: name of the objective.
        unit: unit of the value, shown in reports.
        about: one-line description.
        steps, batch: default budget of a run.
        entries: range or value of the fields that spaces leave open: `peak` and, if the objective
            has one, `momentum`.
        usual_peak: the peak of the default schedule, or None for the middle of the range.
        positive: True if values are positive, so that a sampler may model their logarithm.
        exact: True if the value of a schedule does not depend on the seed.
        untrained: value of an untrained model, which the sampler gets for a diverged trial.
        loss_decreases: False if the reported loss need not decrease in a healthy run, so that only
            a loss that is not finite means divergence.
        samples: largest batch that the data allow, or None for no limit.
        slots: number of runs that it trains at the same time; 1 for functions and proxies, None if
            it is chosen when a study is created (`Elastic`).
        workers: number of workers, each with the same number of slots.
        device: readable name of the device.
        weight_decay: coefficient of the weight decay, for diagnostics.
        curvature: largest eigenvalue of the Hessian if it is known, for diagnostics.
        data: description of the training data, empty if there is none: `name`, `digest`,
            `source`, and a `profile` of numbers.
        options: options of the objective and their values; part of the study's identity.
        version: number that increases when the values of the objective change.
        origin: the file and the values of the user's code, as in `lrsearch.origin.origin_of`.
        reached: fields of the schedule that reach the objective; None for all of them.
        files: digests of the user's files, by path; a study that continues with other files warns.
    """

    name: str
    unit: str
    about: str = ""
    steps: int
    batch: int = 1
    entries: Mapping[str, Entry] = field(default_factory=dict)
    usual_peak: float | None = None
    positive: bool = False
    exact: bool = False
    untrained: float | None = None
    loss_decreases: bool = True
    samples: int | None = None
    slots: int | None = 1
    workers: int = 1
    device: str = "cpu"
    weight_decay: float = 0.0
    curvature: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    origin: Mapping[str, Any] = field(default_factory=dict)
    reached: Collection[str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def momentum(self) -> float:
        """Momentum of schedules that define none: the objective's value, else 0."""
        own = self.entries.get("momentum", 0.0)
        return float(own) if isinstance(own, int | float) else 0.0


class Objective(Protocol):
    """An objective, which turns runs into outcomes; lower values are better."""

    @property
    def setup(self) -> Setup:
        """The description of the objective."""
        ...

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Pull runs and yield each outcome when it ends, in any order."""
        ...

    def optimum(self, budget: Budget) -> float | None:
        """Return the best possible value at a constant batch without momentum, or None."""
        ...


@runtime_checkable
class Elastic(Objective, Protocol):
    """An objective that measures how many runs it should train at the same time."""

    def fit(self, most: int, budget: Budget, *, thorough: bool) -> int:
        """Return the number of slots to use, which a study keeps.

        Args:
            most: largest useful number.
            budget: steps and batch of a run.
            thorough: True to measure several numbers; False to check only that the default number
                is faster than a plain loop.
        """
        ...


@runtime_checkable
class KeepsModel(Objective, Protocol):
    """An objective whose models can be saved."""

    def save_model(self, plan: Plan, seed: int, folder: Path) -> dict[str, str]:
        """Train a plan again and write its model to a folder.

        Returns:
            Paths by `model`, a graph that loads without pickle, and `example`, an input; empty if
            the model cannot be saved.
        """
        ...
