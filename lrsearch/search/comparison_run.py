"""`ComparisonRun`: runs a comparison through the objective's stream, and stores the outcomes.

The outcomes of a schedule are stored when its last seed has ended. An interrupted comparison
continues there, and a comparison with more seeds runs only the new ones.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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
from lrsearch.search.comparison_plan import ComparisonPlan
from lrsearch.search.comparison_protocol import Protocol
from lrsearch.search.comparison_sizes import FULL, PAIR_SEEDS, SIZES
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.contending_shapes import pair_plan, plan_comparison
from lrsearch.search.importance import importances
from lrsearch.search.peak_tuning import Request
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
        self._stage = ""
        self._queue: list[tuple[Schedule, int]] = []
        self._missing: Counter[Schedule] = Counter()
        self._schedules: list[Schedule] = []
        self._held: dict[Schedule, dict[int, Outcome]] = {}
        self._known = {stage: store.measured(stage) for stage in (SELECT, REPORT)}
        self.done = 0

    def answer(self, result: Result, asked: ComparisonSpec) -> None:
        """Compare a study, or report the cost if the comparison would take too long.

        Raises:
            RequestError: a baseline is unknown or does not fit into the budget.
            SearchFailed: a run failed.
        """
        plan = self.plan(result, asked)
        if plan is None and asked.runs is not None:
            raise RequestError(
                f"no comparison fits into {asked.runs} runs, those of earlier comparisons "
                "included; give a larger `runs=`"
            )
        if plan is None:
            whole = self.plan(result, dataclasses.replace(asked, frugal=False))
            if whole is not None:
                self._callback.declined(whole.describe(), whole.runs * seconds_a_run(result))
            return
        found = self.measure(plan, seconds_a_run(result))
        with self.shield:
            self.store.set_comparison(found, result.counted)

    def plan(self, result: Result, asked: ComparisonSpec) -> ComparisonPlan | None:
        """Return the plan of the comparison, or None if it needs too many runs.

        Raises:
            NothingFinished: the study has no finished trial.
            RequestError: a baseline is unknown or does not fit into the budget.
        """
        exact = self._setup.exact
        plan = functools.partial(
            plan_comparison,
            result,
            self._entries(),
            momentum=self.spec.momentum,
            against=asked.opponents,
            exact=exact,
            reached=self._setup.reached,
        )
        limited = asked.frugal and seconds_a_run(result) >= CHEAP
        if exact or (asked.runs is None and asked.limit is None and not limited):
            return plan(size=dataclasses.replace(FULL, top=asked.top), seeds=asked.seeds)
        if asked.runs is None and asked.limit is None:
            left = result.counted
        else:
            left = _left(result, asked, self._known.values())
        for size in SIZES:
            low, high = size.seeds
            largest = plan(size=size, seeds=high, quiet=True)
            found = (largest.with_seeds(seeds) for seeds in range(high, low - 1, -1))
            fitting = next((each for each in found if each.runs <= left), None)
            if fitting is not None:
                return fitting
        low, high = PAIR_SEEDS
        pair = None if asked.opponents else pair_plan(result, high, self.spec.momentum)
        if pair is None:
            return None
        # The schedules of a pair are known before it, and with them the runs that are stored.
        done = sum(
            sum(replicate < high for replicate in self._known[REPORT].get(shape.schedule, ()))
            for shape in (*pair.candidates, *pair.alternatives)
        )
        pairs = (pair.with_seeds(seeds) for seeds in range(high, low - 1, -1))
        return next((each for each in pairs if each.runs - done <= left), None)

    def measure(self, plan: ComparisonPlan, seconds: float = 0.0) -> Comparison:
        """Run what is missing, and return the comparison.

        Args:
            plan: its plan.
            seconds: mean time of a run, for the estimate.

        Raises:
            SearchFailed: a run failed.
        """
        if not isinstance(self._entries().get("peak"), Range):
            log.warning("the space fixes the peak, but the comparison tunes it")
        self.slots = self._fit(plan.runs)
        self.done = 0
        protocol, announced = Protocol(plan, self.store.comparison()), False
        for request in protocol.requests():
            missing = self._take_up(request, protocol)
            if missing and not announced:
                announced = True
                left = max(0, plan.runs - self.done)
                self._callback.comparing(plan.describe(), left * seconds, plan.runs, self.done)
            if missing:
                self.drain()
            for schedule, replicate in request.runs:
                value = self._held[schedule][replicate].value
                key = request.stage, schedule, replicate
                protocol.values[key] = math.inf if value is None else value
        losses = {} if plan.exact else self._losses(protocol.reported)
        found = protocol.conclude(self.spec.unit, losses)
        return dataclasses.replace(found, importance=importances(self.store))

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
        self._missing[schedule] -= 1
        if not self._missing[schedule]:
            with self.shield:
                self.store.keep_measured(self._stage, schedule, held)
            self._known[self._stage][schedule] = held
        self._callback.compared_runs(self.done)

    def _entries(self) -> dict[str, Entry]:
        return {**self._setup.entries, **self.spec.space.entries}

    def _take_up(self, request: Request, protocol: Protocol) -> int:
        """Prepare the runs of a request that are not stored, and return their number."""
        known = self._known[request.stage]
        self._stage = request.stage
        self._schedules = list(dict.fromkeys(schedule for schedule, _ in request.runs))
        self._held = {schedule: dict(known.get(schedule, {})) for schedule in self._schedules}
        self._queue = [(s, r) for s, r in request.runs if r not in self._held[s]]
        self._missing = Counter(schedule for schedule, _ in self._queue)
        new = sum((request.stage, *run) not in protocol.values for run in request.runs)
        self.done += new - len(self._queue)
        return len(self._queue)

    def _losses(self, schedules: Sequence[Schedule]) -> dict[Schedule, list[Trace]]:
        known = self._known[REPORT]
        return {
            s: [o.traces["loss"] for _, o in sorted(known[s].items()) if "loss" in o.traces]
            for s in schedules
        }


def _left(result: Result, asked: ComparisonSpec, held: Iterable[Held]) -> int:
    """Return the number of runs that a budget leaves after those that are done."""
    left = (asked.runs or asked.limit or 0) - sum(
        len(outcomes) for stage in held for outcomes in stage.values()
    )
    if asked.runs is None:
        counted = [trial for trial in result.trials if trial.state != "failed"]
        left -= sum(len(trial.outcomes) for trial in counted)
    return left
