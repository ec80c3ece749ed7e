"""Checks that an objective follows the contract, as a pytest class to derive from.

    from lrsearch.testing import ObjectiveChecks
    from train import small_gpt

    class TestSmallGpt(ObjectiveChecks):
        objective = small_gpt
        steps = 50

Then `pytest`, which this module needs, runs the checks. lrsearch's own objectives pass them.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lrsearch.contract import Objective, Probes
from lrsearch.errors import RunStopped
from lrsearch.objectives.loading import find_objective
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.ranges import Range
from lrsearch.run import Run
from lrsearch.schedule import Budget, Schedule

#: Number of reports after which a run is pruned.
PRUNED_AFTER = 3


class _CountingPlan(Plan):
    """A plan that counts the steps that are read from it."""

    def __iter__(self) -> Iterator[tuple[float, int]]:
        for pair in super().__iter__():
            object.__setattr__(self, "drawn", getattr(self, "drawn", 0) + 1)
            yield pair


@dataclass(kw_only=True, eq=False)
class _Watched(Run):
    """A run that stores its reports, and is pruned after a few of them if `prunes`."""

    prunes: bool = False
    seen: list[tuple[int, float]] = field(default_factory=list, init=False)

    def report(self, t: int, loss: float) -> None:
        self.seen.append((t, float(loss)))
        super().report(t, loss)
        if self.prunes and len(self.seen) >= PRUNED_AFTER:
            self.stopped = RunStopped("pruned", "pruned by the checks")
            raise self.stopped

    def report_all(self, first: int, losses: Sequence[float]) -> None:
        for t, loss in enumerate(losses, first):
            self.report(t, loss)


@dataclass
class _Given:
    """A stream of given runs, one at a time."""

    runs: list[Run]
    slots: int = 1
    probes: Probes = field(default_factory=Probes)

    def take(self, room: int) -> list[Run]:
        taken, self.runs = self.runs[:room], self.runs[room:]
        return taken


class ObjectiveChecks:
    """Checks of an objective. Derive a class whose name begins with Test, and set `objective`.

    Attributes:
        objective: an objective as in `lrsearch.tune`.
        options: options of a built-in objective or a task class.
        steps: steps of the runs; short runs are enough.
        batch: batch size of the first step; None for the objective's default.
        schedule: a schedule that does not diverge; None for a cosine with the usual peak.
    """

    objective: ClassVar[Any] = None
    options: ClassVar[dict[str, Any] | None] = None
    steps: ClassVar[int] = 40
    batch: ClassVar[int | None] = None
    schedule: ClassVar[Schedule | None] = None

    @pytest.fixture
    def subject(self) -> Objective:
        """Return the objective."""
        # A plain function must not become a method of this class.
        given = inspect.getattr_static(type(self), "objective")
        return find_objective(given, self.options, "auto")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._tmp = tmp_path
        self._runs = 0

    def test_the_same_seed_gives_the_same_value(self, subject: Objective) -> None:
        """Check that all random numbers come from `run.seed`."""
        (first, _), (second, _) = self.ends(subject, seed=1), self.ends(subject, seed=1)
        assert first.state == second.state == "finished", first.reason or second.reason
        assert first.value == second.value, "two runs with one seed gave different values"
        assert first.traces == second.traces, "two runs with one seed reported different losses"

    def test_another_seed_gives_another_value(self, subject: Objective) -> None:
        """Check that the seed changes the value, unless the objective is exact."""
        (first, _), (second, _) = self.ends(subject, seed=1), self.ends(subject, seed=2)
        if subject.setup.exact:
            assert first.value == second.value, (
                "the value of an exact objective depends on the seed"
            )
        else:
            assert first.value != second.value, "two seeds gave one value; use run.seed"

    def test_it_follows_the_whole_plan_and_no_more(self, subject: Objective) -> None:
        """Check that a run has exactly the steps of its plan."""
        for steps in (self.steps, self.steps + 7):
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="a report of a step outside the plan")
                outcome, run = self.ends(subject, steps=steps)
            updates = len(run.plan)
            assert outcome.state == "finished", outcome.reason
            assert outcome.updates == updates
            drawn = getattr(run.plan, "drawn", None)
            assert drawn in (None, updates), f"{drawn} steps were read from a plan of {updates}"

    def test_the_plan_matters(self, subject: Objective) -> None:
        """Check that another learning rate gives another value."""
        schedule = self._schedule(subject)
        lower = schedule.replace(peak=schedule.peak / 2)
        (first, _), (second, _) = self.ends(subject), self.ends(subject, schedule=lower)
        assert first.value != second.value, "half the learning rate gave the same value"

    def test_reports_are_finite_and_in_order(self, subject: Objective) -> None:
        """Check that reported losses are finite and in the order of the steps."""
        outcome, run = self.ends(subject)
        assert outcome.state == "finished", outcome.reason  # `report` checks the order
        assert all(math.isfinite(loss) for _, loss in run.seen)

    def test_it_survives_a_plan_that_diverges(self, subject: Objective) -> None:
        """Check that a learning rate that is far too high gives an outcome, not an exception."""
        entry = subject.setup.entries.get("peak")
        top = entry.high if isinstance(entry, Range) else self._schedule(subject).peak
        outcome, _ = self.ends(subject, schedule=Schedule(peak=1e6 * top, decay="constant"))
        assert outcome.state in ("diverged", "finished"), outcome.reason
        again, _ = self.ends(subject)
        assert again.state == "finished", "a good run after a diverged one did not finish"

    def test_it_obeys_pruning(self, subject: Objective) -> None:
        """Check that the exception of `run.report` ends the run without further reports."""
        outcome, run = self.ends(subject, prunes=True)
        if len(run.seen) < PRUNED_AFTER:
            pytest.skip("the objective reports too rarely to be pruned")
        assert outcome.state == "pruned", "the objective continued after run.report had raised"
        more = len(run.seen) - PRUNED_AFTER
        assert not more, f"{more} more losses were reported after run.report had raised"

    def ends(
        self,
        subject: Objective,
        *,
        seed: int = 1,
        steps: int | None = None,
        schedule: Schedule | None = None,
        prunes: bool = False,
    ) -> tuple[Outcome, Any]:
        """Train a run; return its outcome and the run."""
        setup = subject.setup
        budget = Budget(
            steps=self.steps if steps is None else steps,
            batch=setup.batch if self.batch is None else self.batch,
        )
        given = schedule or self._schedule(subject)
        drawn = budget.plan(given.with_momentum(setup.momentum))
        self._runs += 1
        run = _Watched(
            trial=0,
            replicate=0,
            seed=seed,
            plan=_CountingPlan(lr=drawn.lr, batch=drawn.batch, momentum=drawn.momentum),
            prunes=prunes,
            untrained=setup.untrained,
            loss_decreases=setup.loss_decreases,
            home=str(self._tmp / str(self._runs)),
        )
        outcomes = list(subject.evaluate(_Given([run])))
        assert len(outcomes) == 1, f"one run gave {len(outcomes)} outcomes"
        return outcomes[0], run

    def _schedule(self, subject: Objective) -> Schedule:
        if self.schedule is not None:
            return self.schedule
        entry, usual = subject.setup.entries.get("peak"), subject.setup.usual_peak
        if usual is not None:
            return Schedule(peak=usual)
        if isinstance(entry, Range):
            return Schedule(peak=entry.middle)
        pytest.fail(
            "the objective has no range of the peak; set `schedule` in the class of the checks"
        )
