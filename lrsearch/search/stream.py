"""`RunStream`: where an objective pulls its runs from. A search and a comparison are one each."""

from __future__ import annotations

from pathlib import Path

from lrsearch.contract import Objective, Probes
from lrsearch.plan import Plan
from lrsearch.result import Outcome
from lrsearch.run import Run
from lrsearch.search.signals import Shield
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store


class RunStream:
    """Runs for an objective, as `lrsearch.contract.Runs`, and a place for their outcomes.

    Args:
        spec, objective: what is asked for, and what answers.
        store: the study.
        shield: holds signals back while a record is written.
        slots: runs in flight.

    Attributes:
        slots: as above.
        probes: what is measured beside losses.
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
        """Take in how a run ended."""
        raise NotImplementedError

    def drain(self) -> None:
        """Let the objective answer until there are no more runs."""
        outcomes = self.objective.evaluate(self)
        try:
            for outcome in outcomes:
                self.shield.check()  # before an outcome that a signal cut short counts
                self.receive(outcome)
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()

    def run(
        self,
        index: int,
        replicate: int,
        plan: Plan,
        *,
        seed: int,
        folder: str,
        retries: int = 0,
    ) -> Run:
        """Make a run.

        Args:
            index: by which its outcome is known, with the replicate.
            replicate: of the schedule.
            plan: what it does at each update.
            seed: of everything that it draws.
            folder: its own, by name.
            retries: how often it was lost with its process.
        """
        home: Path = self.spec.location.runs / folder
        return Run(
            trial=index,
            replicate=replicate,
            seed=seed,
            plan=plan,
            stops=self.spec.pruner != "none",
            untrained=self._setup.untrained,
            home=str(home.absolute()),
            limit=None if self.spec.trial_timeout is None else float(self.spec.trial_timeout),
            retries=retries,
        )
