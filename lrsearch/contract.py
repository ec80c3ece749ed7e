"""The contract between a search and what it drives: runs in, outcomes out.

An objective is a stream. It pulls as many runs as it has room for and yields each outcome as it
ends, in any order; the engine decides how many may be in flight, joins the runs of a trial and
tells the study. A function pulls one at a time; an exact proxy answers all it is given in one
array operation; a population pulls one for every slot. The engine knows nothing of torch, and an
objective nothing of Optuna or MLflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lrsearch.landscape import Landscape
from lrsearch.plan import Plan
from lrsearch.ranges import Entry
from lrsearch.result import Outcome
from lrsearch.run import Run
from lrsearch.schedule import Budget

#: How much is measured of a run beside its value: nothing, its schedule, what costs at most a
#: tenth of its training, or everything, in up to about as long as its training takes (longer in
#: runs of fewer than some 70 updates, where one whole look outlasts the run).
LEVELS = ("none", "schedule", "cheap", "full")


class Probes:
    """What is measured of runs beside their losses: nothing. Derive a class to measure more.

    Probes read, and never change a run.

    Attributes:
        level: one of `LEVELS`.
    """

    level = LEVELS[0]

    @property
    def looks(self) -> bool:
        """Whether runs are measured while they train."""
        return False

    def samples(self, batch: int, available: int) -> int:
        """Return how many samples a landscape's loss is taken over.

        Args:
            batch: of the runs' first update.
            available: samples that there are to train on.
        """
        return 0

    def norms(self, updates: int, batch: int) -> frozenset[int]:
        """Return the updates at which norms of gradient, update and deviation are wanted."""
        return frozenset()

    def agenda(self, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
        """Return after how many updates a run's landscape is looked at, and for what."""
        return {}

    def look(self, landscape: Landscape, parts: frozenset[str]) -> Mapping[str, list[float]]:
        """Return numbers by name, one a run of the landscape."""
        return {}

    def complete(self, setup: Setup, plan: Plan, outcome: Outcome) -> Outcome:
        """Return an outcome with what is known from its schedule and its curves added."""
        return outcome


class Runs(Protocol):
    """Where an objective pulls its runs from.

    Attributes:
        slots: how many may be in flight.
        probes: what is measured of them beside their losses.
    """

    slots: int
    probes: Probes

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
        usual_peak: the peak of the default schedule, or None for the middle of the range.
        positive: whether values are positive, so that a sampler may model their logarithm.
        exact: whether one schedule always has one value, whatever the seed.
        untrained: the value of an untrained model, told to the sampler for a diverged trial.
        samples: the largest batch that it can draw, or None.
        slots: runs that it advances at once; 1 for functions and proxies, None where that is
            found when a study begins (`Elastic`).
        workers: how many of it run at once, each with as many slots.
        device: where it runs, for people.
        weight_decay: coefficient of the parameters, for diagnostics.
        curvature: the largest eigenvalue of its Hessian where it is known, for diagnostics.
        data: what it is trained on, where there is such: `name`, `digest`, `source`, and a
            `profile` of numbers.
        options: its own options and their values; part of the study's identity.
        version: raised when its values change.
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
    samples: int | None = None
    slots: int | None = 1
    workers: int = 1
    device: str = "cpu"
    weight_decay: float = 0.0
    curvature: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
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

    def optimum(self, budget: Budget) -> float | None:
        """The best possible value at a constant batch without momentum, where it is known."""
        ...


@runtime_checkable
class Elastic(Objective, Protocol):
    """An objective that finds out how many runs it advances at once best."""

    def fit(self, most: int, budget: Budget, *, thorough: bool) -> int:
        """The number of slots to use, found by measuring; a study keeps it.

        Args:
            most: the largest that the search has a use for.
            budget: of a run.
            thorough: whether to look for the fastest number, or only whether the usual one is
                better than a plain loop.
        """
        ...


@runtime_checkable
class KeepsModel(Objective, Protocol):
    """An objective whose models can be kept."""

    def save_model(self, plan: Plan, seed: int, folder: Path) -> dict[str, str]:
        """Trains a plan once more and writes its model into a folder.

        Returns:
            paths by `model`, a graph that loads without pickle, and `example`, an input; empty
            where the model cannot be kept.
        """
        ...
