"""`ComparisonRun`: runs a comparison through the objective's stream, and stores the outcomes.

The outcomes of a schedule are stored when its last seed has ended. An interrupted comparison
continues there, and a comparison with more seeds runs only the new ones.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from lrsearch.comparison import Comparison
from lrsearch.contract import Elastic
from lrsearch.distributions import digest
from lrsearch.errors import RequestError, SearchFailed, log
from lrsearch.outcome import Outcome
from lrsearch.ranges import Entry, Range
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.search.callbacks import Callback
from lrsearch.search.comparison_plan import FEWEST_SEEDS, FEWEST_SELECTION, ComparisonPlan
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.contending_shapes import PAIR_SEEDS, SMALLER, pair_plan, plan_comparison
from lrsearch.search.exact_peaks import next_peak
from lrsearch.search.importance import importances
from lrsearch.search.stream import RunStream
from lrsearch.seeding import REPORT, SELECT, stream_seed
from lrsearch.trace import Trace

#: The stored outcomes of a stage, by schedule and seed.
Held = Mapping[Schedule, Mapping[int, Outcome]]
#: Mean seconds per run below which the comparison has its full size. Above, a frugal comparison
#: has at most as many runs as the study has trials.
CHEAP = 2.0


def seconds_a_run(result: Result) -> float:
    """Return the mean wall time of the finished runs; 0 if there is none."""
    times = [o.seconds for t in result.trials for o in t.outcomes if o.state == "finished"]
    return math.fsum(times) / len(times) if times else 0.0


class ComparisonRun(RunStream):
    """A comparison in progress. Its runs have no diagnostics, because it uses only their values.

    Args:
        search: the search whose study is compared.
        callback: observer of the comparison.

    Attributes:
        done: number of runs that are done.
    """

    def __init__(self, search: RunStream, callback: Callback) -> None:
        store = search.store
        super().__init__(search.spec, search.objective, store, search.shield, store.slots or 1)
        self._callback = callback
        self._stage, self._seeds = "", 0
        self._queue: list[tuple[Schedule, int]] = []
        self._schedules: list[Schedule] = []
        self._held: dict[Schedule, dict[int, Outcome]] = {}
        self.done = 0

    def answer(self, result: Result, asked: ComparisonSpec) -> None:
        """Compare a study, or report the cost if the comparison would take too long.

        Raises:
            RequestError: a baseline is unknown or does not fit into the budget.
            SearchFailed: a run failed.
        """
        plan, each = self.plan(result, asked), seconds_a_run(result)
        if plan is None and asked.runs is not None:
            raise RequestError(
                f"no comparison fits into {asked.runs} runs, those of earlier comparisons "
                "included; give a larger `runs=`"
            )
        if plan is None:
            whole = self.plan(result, dataclasses.replace(asked, frugal=False))
            if whole is not None:
                self._callback.declined(whole.describe(), whole.runs * each)
            return
        done = self.known(plan)
        left = plan.runs - done
        self._callback.comparing(plan.describe(), left * each, plan.runs, done)
        found = dataclasses.replace(self.measure(plan), importance=importances(self.store))
        with self.shield:
            self.store.set_comparison(found, result.counted)

    def plan(self, result: Result, asked: ComparisonSpec) -> ComparisonPlan | None:
        """Return the plan of the comparison, or None if it needs too many runs.

        Raises:
            NothingFinished: the study has no finished trial.
            RequestError: a baseline is unknown or does not fit into the budget.
        """
        exact, entries = self._setup.exact, self._entries()

        def plan(
            nearest: int | None, top: int, seeds: int, selection: int | None = None
        ) -> ComparisonPlan:
            return plan_comparison(
                result,
                entries,
                momentum=self.spec.momentum,
                top=top,
                seeds=seeds,
                against=asked.opponents,
                selection=selection,
                exact=exact,
                points=asked.grid,
                nearest=nearest,
                reached=self._setup.reached,
                default=nearest is None,  # a smaller comparison leaves it out
            )

        whole = plan(None, asked.top, asked.seeds)
        limited = asked.frugal and seconds_a_run(result) >= CHEAP
        if exact or (asked.runs is None and asked.limit is None and not limited):
            return whole
        least = SMALLER[-1]
        smaller = [
            *((peaks, asked.top, asked.seeds) for peaks in SMALLER),
            *((least, top, asked.seeds) for top in range(asked.top - 1, 0, -1)),
            *((least, 1, seeds) for seeds in range(asked.seeds - 1, FEWEST_SEEDS - 1, -1)),
            (least, 1, FEWEST_SEEDS, FEWEST_SELECTION),
        ]
        plans = itertools.chain([whole], (plan(*sizes) for sizes in smaller))
        pair = None if asked.opponents else pair_plan(result, PAIR_SEEDS[0])
        if pair is not None:
            pairs = (dataclasses.replace(pair, seeds=seeds) for seeds in PAIR_SEEDS)
            plans = itertools.chain(plans, pairs)
        if asked.runs is None and asked.limit is None:
            return next((each for each in plans if each.runs <= result.counted), None)
        held = {stage: self.store.measured(stage) for stage in (SELECT, REPORT)}
        left = _left(result, asked, held)
        return next((each for each in plans if _missing(each, held) <= left), None)

    def known(self, plan: ComparisonPlan) -> int:
        """Return the number of selection runs of a plan that the study has stored."""
        self.done = _stored(plan, plan.selection, self.store.measured(SELECT))
        return self.done

    def measure(self, plan: ComparisonPlan) -> Comparison:
        """Run what is missing, and return the comparison.

        Raises:
            SearchFailed: a run failed.
        """
        if not isinstance(self._entries().get("peak"), Range):
            log.warning("the space fixes the peak, but the comparison tunes it")
        self.slots = self._fit(plan.runs)
        measured = self._measure(SELECT, plan.schedules, plan.look)
        if plan.exact:
            plan, measured = self._refine(plan, measured)
        measured |= self._measure(SELECT, plan.kept(measured), plan.selection)
        finalists = list(plan.finalists(measured).values())
        if plan.exact:
            return plan.conclude(self.spec.unit, measured, measured)
        reported = self._measure(REPORT, finalists, plan.seeds)
        losses = self._losses(finalists, plan.seeds)
        return plan.conclude(self.spec.unit, measured, reported, losses)

    def _refine(
        self, plan: ComparisonPlan, measured: dict[Schedule, list[float]]
    ) -> tuple[ComparisonPlan, dict[Schedule, list[float]]]:
        """Return a plan with the best peak of every shape, for exact values, and all values."""
        while True:
            shapes = {shape.name: shape.schedules for shape in plan.shapes}
            new = {}
            for name, known in shapes.items():
                if len(known) == 1:
                    continue  # it competes at its own peak
                peak = next_peak({s.peak: measured[s][0] for s in known})
                if peak is not None:
                    new[name] = known[0].replace(peak=peak)
            if not new:
                return plan, measured
            measured |= self._measure(SELECT, list(new.values()), 1)
            plan = plan.with_schedules(new)

    def _fit(self, runs: int) -> int:
        """Return the number of slots, which the sampler's window does not limit here."""
        if isinstance(self.spec.slots, int):
            return self.spec.slots
        if self._setup.slots is not None or not isinstance(self.objective, Elastic):
            return self.slots
        return self.objective.fit(runs, self.spec.budget, thorough=False)

    def take(self, room: int) -> list[Run]:
        """Return at most `room` runs that may start now; see `lrsearch.contract.Runs`."""
        taken, self._queue = self._queue[:room], self._queue[room:]
        return [
            self.run(
                self._schedules.index(schedule),
                replicate,
                schedule,
                self.spec.budget.plan(schedule),
                seed=stream_seed(self.spec.seed, self._stage, replicate),
                folder=f"{self._stage}-{digest(schedule)}-{replicate}",
            )
            for schedule, replicate in taken
        ]

    def receive(self, outcome: Outcome) -> None:
        """Receive an outcome; a schedule is stored when its last seed has ended."""
        schedule = self._schedules[outcome.trial]
        if outcome.state == "failed":
            raise SearchFailed(
                f"a comparison run of {schedule!r} failed: {outcome.reason}; all trials are "
                "saved; fix the error and continue with `lrsearch compare`",
                outcome.details,
            )
        if self._stage != REPORT:  # only the curves of reported runs are drawn
            outcome = dataclasses.replace(outcome, traces={}, figures={})
        held = self._held[schedule]
        held[outcome.replicate] = outcome
        self.done += 1
        if all(replicate in held for replicate in range(self._seeds)):
            with self.shield:
                self.store.keep_measured(self._stage, schedule, held)
        self._callback.compared_runs(self.done)

    def _entries(self) -> dict[str, Entry]:
        return {**self._setup.entries, **self.spec.space.entries}

    def _measure(
        self, stage: str, schedules: Sequence[Schedule], seeds: int
    ) -> dict[Schedule, list[float]]:
        """Return values by seed, infinite for a diverged seed; run what is missing."""
        known = self.store.measured(stage)
        self._stage, self._seeds = stage, seeds
        self._schedules = list(dict.fromkeys(schedules))
        self._held = held = {s: dict(known.get(s, {})) for s in self._schedules}
        self._queue = [(s, r) for s in held for r in range(seeds) if r not in held[s]]
        if self._queue:
            self.drain()
        return {
            s: [math.inf if (v := held[s][r].value) is None else v for r in range(seeds)]
            for s in held
        }

    def _losses(self, schedules: Sequence[Schedule], seeds: int) -> dict[Schedule, list[Trace]]:
        known = self.store.measured(REPORT)
        return {
            s: [known[s][r].traces["loss"] for r in range(seeds) if "loss" in known[s][r].traces]
            for s in schedules
        }


def _left(result: Result, asked: ComparisonSpec, held: Mapping[str, Held]) -> int:
    """Return the number of runs that a budget leaves after those that are done."""
    left = (asked.runs or asked.limit or 0) - sum(
        len(outcomes) for stage in held.values() for outcomes in stage.values()
    )
    if asked.runs is None:
        counted = [trial for trial in result.trials if trial.state != "failed"]
        left -= sum(len(trial.outcomes) for trial in counted)
    return left


def _missing(plan: ComparisonPlan, held: Mapping[str, Held]) -> int:
    """Return the number of runs of a plan that the study has not stored, at most."""
    missing = plan.runs - _stored(plan, plan.selection, held[SELECT])
    # Without a selection, the schedules of the report are known before it.
    return missing if plan.selection else missing - _stored(plan, plan.seeds, held[REPORT])


def _stored(plan: ComparisonPlan, seeds: int, held: Held) -> int:
    """Return the number of stored runs of a plan's schedules, with this number of seeds each."""
    return sum(min(seeds, len(held.get(schedule, ()))) for schedule in plan.schedules)
