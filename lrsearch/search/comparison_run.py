"""`ComparisonRun`: runs a comparison through the objective's stream, and stores the outcomes.

The outcomes of a schedule are stored when its last seed has ended. An interrupted comparison
continues there, and a comparison with more seeds runs only the new ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from lrsearch.comparison import Comparison
from lrsearch.contract import Elastic
from lrsearch.distributions import digest
from lrsearch.errors import RequestError, SearchFailed, log
from lrsearch.outcome import Outcome
from lrsearch.ranges import Range
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.search.callbacks import Callback
from lrsearch.search.comparison_choice import ComparisonChoice, no_comparison_fits, runs_before
from lrsearch.search.comparison_plan import ComparisonPlan
from lrsearch.search.comparison_protocol import Protocol
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.importance import importances
from lrsearch.search.peak_tuning import Request
from lrsearch.search.stream import RunStream
from lrsearch.seeding import REPORT, SELECT, stream_seed
from lrsearch.study.keys import BEGUN
from lrsearch.trace import Trace


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
        """Compare a study, or report what comparisons there are if none fits.

        Raises:
            RequestError: a baseline is unknown or does not fit into the budget, and the user has
                asked for this comparison.
            SearchFailed: a run failed.
        """
        earlier, key = self.store.comparison(), asked.key(result.counted)
        if earlier is not None and earlier.asked == key:
            return  # the same request again
        done = runs_before(self.store, self._known.values(), key)
        choice = ComparisonChoice(result, self.spec, self._setup, done, earlier)
        try:
            plan = choice.plan(asked)
        except RequestError as error:
            if not asked.frugal:
                raise
            log.warning("no comparison: %s", error)
            return
        if plan is None and asked.runs is not None:
            raise no_comparison_fits(asked.runs)
        if plan is not None:
            with self.shield:
                self.store.keep(BEGUN, [key, done])
            found = dataclasses.replace(self.measure(plan, choice.seconds), asked=key)
            with self.shield:
                self.store.set_comparison(found, result.counted)
            done = runs_before(self.store, self._known.values())
            choice = ComparisonChoice(result, self.spec, self._setup, done, found)
        if asked.frugal and asked.limit is None and not choice.cheap:
            self._callback.offered(choice.offers())

    def measure(self, plan: ComparisonPlan, seconds: float = 0.0) -> Comparison:
        """Run what is missing, and return the comparison.

        Args:
            plan: its plan.
            seconds: mean time of a run, for the estimate.

        Raises:
            SearchFailed: a run failed.
        """
        if not isinstance(self.spec.space.entries.get("peak"), Range):
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
        held[outcome.replicate] = outcome.thin()  # as it is stored
        self.done += 1
        self._missing[schedule] -= 1
        if not self._missing[schedule]:
            with self.shield:
                self.store.keep_measured(self._stage, schedule, held)
            self._known[self._stage][schedule] = held
        self._callback.compared_runs(self.done)

    def _take_up(self, request: Request, protocol: Protocol) -> int:
        """Prepare the runs of a request that are not stored, and return their number."""
        known = self._known[request.stage]
        self._stage = request.stage
        self._schedules = list(dict.fromkeys(schedule for schedule, _ in request.runs))
        self._held = {schedule: dict(known.get(schedule, {})) for schedule in self._schedules}
        runs = list(dict.fromkeys(request.runs))  # two alternatives may be the same schedule
        self._queue = [(s, r) for s, r in runs if r not in self._held[s]]
        self._missing = Counter(schedule for schedule, _ in self._queue)
        new = sum((request.stage, *run) not in protocol.values for run in runs)
        self.done += new - len(self._queue)
        return len(self._queue)

    def _losses(self, schedules: Sequence[Schedule]) -> dict[Schedule, list[Trace]]:
        known = self._known[REPORT]
        return {
            s: [o.traces["loss"] for _, o in sorted(known[s].items()) if "loss" in o.traces]
            for s in schedules
        }
