"""`RunStream`: the source of an objective's runs, implemented by a search and a comparison."""

from __future__ import annotations

from pathlib import Path

from lrsearch.contract import Objective, Probes
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.search.signals import Shield
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store


class RunStream:
    """A source of runs (`lrsearch.contract.Runs`) that receives their outcomes.

    Args:
        spec: specification of the study.
        objective: the objective.
        store: the study.
        shield: delays signals while a record is written.
        slots: number of runs in flight.

    Attributes:
        slots: number of runs in flight.
        probes: measurements besides losses.
    """

    probes: Probes = Probes()

    def __init__(
        self, spec: StudySpec, objective: Objective, store: Store, shield: Shield, slots: int
    ) -> None:
        self.slots = slots
        self.spec, self.objective, self.store, self.shield = spec, objective, store, shield
        self._setup = objective.setup

    def take(self, room: int) -> list[Run]:
        """Return at most `room` runs that may start now; see `lrsearch.contract.Runs`."""
        raise NotImplementedError

    def receive(self, outcome: Outcome) -> None:
        """Receive the outcome of a run."""
        raise NotImplementedError

    def drain(self) -> None:
        """Evaluate the objective until there are no more runs."""
        outcomes = self.objective.evaluate(self)
        try:
            for outcome in outcomes:
                self.shield.check()  # do not store an outcome that a signal cut short
                self.receive(outcome)
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()

    def run(
        self,
        index: int,
        replicate: int,
        schedule: Schedule,
        plan: Plan,
        *,
        seed: int,
        folder: str,
        retries: int = 0,
    ) -> Run:
        """Make a run.

        Args:
            index: index of the trial; with the replicate, it identifies the outcome.
            replicate: number of the replicate.
            schedule: the schedule.
            plan: its plan.
            seed: seed of all random numbers of the run.
            folder: name of the run's folder.
            retries: number of earlier attempts whose process died.
        """
        home: Path = self.spec.location.runs / folder
        return Run(
            trial=index,
            replicate=replicate,
            seed=seed,
            plan=plan,
            schedule=schedule,
            stops=self.spec.pruner != "none",
            untrained=self._setup.untrained,
            loss_decreases=self._setup.loss_decreases,
            home=str(home.absolute()),
            limit=None if self.spec.trial_timeout is None else float(self.spec.trial_timeout),
            retries=retries,
        )
