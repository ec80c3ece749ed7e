"""Runs the protocol of a comparison through an objective's stream, and keeps what it measured.

Schedules are measured one after another on all their seeds, and each is kept when its last seed
has ended: a comparison that is interrupted goes on where it was, and one with more seeds
measures only the new ones.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from lrsearch.comparison import Comparison
from lrsearch.contract import Elastic, NoProbes, Objective, Probes, Run
from lrsearch.distributions import digest
from lrsearch.errors import SearchFailed
from lrsearch.ranges import Entry, Range
from lrsearch.result import Outcome, Result
from lrsearch.schedule import Schedule
from lrsearch.search.callbacks import Callback
from lrsearch.search.comparison_plan import (
    FEWEST_SEEDS,
    FEWEST_SELECTION,
    SMALLER,
    ComparisonPlan,
    plan_comparison,
    shrink,
)
from lrsearch.search.importance import importances
from lrsearch.search.signals import Shield
from lrsearch.seeding import stream_seed
from lrsearch.study.request import ComparisonSpec, Search
from lrsearch.study.store import Store

__all__ = ["ComparisonRun", "seconds_a_run"]

#: A search whose runs take less is compared in full; else within as many runs as it has trials.
CHEAP = 2.0

log = logging.getLogger("lrsearch")


def seconds_a_run(result: Result) -> float:
    """Mean wall time of the finished runs; 0 where there is none."""
    times = [o.seconds for t in result.trials for o in t.outcomes if o.state == "finished"]
    return math.fsum(times) / len(times) if times else 0.0


class ComparisonRun:
    """A comparison in progress; what objectives see of it is `slots`, `probes` and `take`.

    Attributes:
        slots: runs in flight.
        done: runs that are known.

    Args:
        search: the study's.
        objective: what answers.
        store: the study.
        shield: holds signals back while a record is written.
        callback: who watches.
    """

    def __init__(
        self,
        search: Search,
        objective: Objective,
        store: Store,
        shield: Shield,
        callback: Callback,
    ) -> None:
        self.slots = store.slots or 1  # `run` may find more
        self._search, self._objective = search, objective
        self.store, self.shield, self._callback = store, shield, callback
        self._stage = ""
        self._queue: list[tuple[Schedule, int]] = []
        self._schedules: list[Schedule] = []
        self.done = 0

    def answer(self, result: Result, asked: ComparisonSpec) -> None:
        """Compares a study, or says what that would cost where it may not cost so much.

        Raises:
            RequestError: as `plan`.
            SearchFailed: as `run`.
        """
        protocol, each = self.plan(result, asked), seconds_a_run(result)
        if protocol is None:
            whole = self.plan(result, dataclasses.replace(asked, frugal=False))
            if whole is not None:
                self._callback.declined(whole.describe(), whole.runs * each)
            return
        done = self.known(protocol)
        left = protocol.runs - done
        self._callback.comparing(protocol.describe(), left * each, protocol.runs, done)
        found = dataclasses.replace(self.run(protocol), importance=importances(self.store))
        with self.shield:
            self.store.set_comparison(found, len(result.trials))

    def plan(self, result: Result, asked: ComparisonSpec) -> ComparisonPlan | None:
        """What would be measured; None where it would cost more than a search may cost.

        Raises:
            NothingFinished: the study has no finished trial.
            RequestError: a baseline is unknown or has no plan.
        """
        exact, entries = self._objective.setup.exact, self._entries()

        def protocol(
            nearest: int | None, top: int, seeds: int, selection: int | None = None
        ) -> ComparisonPlan:
            return plan_comparison(
                result,
                entries,
                top=top,
                seeds=seeds,
                against=asked.against,
                selection=selection,
                exact=exact,
                points=asked.grid,
                nearest=nearest,
            )

        whole = protocol(None, asked.top, asked.seeds)
        if not asked.frugal or seconds_a_run(result) < CHEAP:
            return whole
        least = SMALLER[-1]
        smaller = [
            *((peaks, asked.top, asked.seeds) for peaks in SMALLER),
            *((least, top, asked.seeds) for top in range(asked.top - 1, 0, -1)),
            *((least, 1, seeds) for seeds in range(asked.seeds - 1, FEWEST_SEEDS - 1, -1)),
            (least, 1, FEWEST_SEEDS, FEWEST_SELECTION),
        ]
        made = (protocol(*sizes) for sizes in smaller)
        return shrink(itertools.chain([whole], made), len(result.trials))

    def known(self, protocol: ComparisonPlan) -> int:
        """How many of its runs the study holds already, those of the selection alone."""
        held = self.store.measured("select")
        self.done = sum(min(protocol.selection, len(held.get(s, ()))) for s in protocol.schedules)
        return self.done

    def run(self, protocol: ComparisonPlan) -> Comparison:
        """Measures what is not known yet, and concludes.

        Raises:
            SearchFailed: a run failed.
        """
        if not isinstance(self._entries().get("peak"), Range):
            log.warning("the space fixes the peak; the comparison tunes it nevertheless")
        self.slots = self._fit(protocol.runs)
        measured = self._measure("select", protocol.schedules, protocol.look)
        measured |= self._measure("select", protocol.kept(measured), protocol.selection)
        finalists = list(protocol.finalists(measured).values())
        if protocol.exact:
            return protocol.conclude(self.store.record.unit, measured, measured)
        reported = self._measure("report", finalists, protocol.seeds)
        return protocol.conclude(
            self.store.record.unit, measured, reported, self._losses(finalists, protocol.seeds)
        )

    def _fit(self, runs: int) -> int:
        """Slots: what is asked for, else as many as suit; no window of a sampler limits them."""
        search, objective = self._search, self._objective
        if isinstance(search.slots, int):
            return search.slots
        if objective.setup.slots is not None or not isinstance(objective, Elastic):
            return self.slots
        return objective.fit(runs, steps=search.steps, batch=search.batch, thorough=False)

    #: Values are all that a comparison is about, and its bill is of training alone.
    probes: Probes = NoProbes()

    def take(self, room: int) -> list[Run]:
        """At most `room` runs that may start now; see `lrsearch.contract.Runs`."""
        taken, self._queue = self._queue[:room], self._queue[room:]
        return [self._run(schedule, replicate) for schedule, replicate in taken]

    def _entries(self) -> dict[str, Entry]:
        return {**self._objective.setup.entries, **self._search.space.entries}

    def _measure(
        self, stage: str, schedules: Sequence[Schedule], seeds: int
    ) -> dict[Schedule, list[float]]:
        """Values by seed of some schedules, infinite where a seed diverged."""
        known = self.store.measured(stage)
        schedules = list(dict.fromkeys(schedules))
        held = {s: dict(known.get(s, {})) for s in schedules}
        self._stage, self._schedules = stage, schedules
        self._queue = [(s, r) for s in schedules for r in range(seeds) if r not in held[s]]
        stream = self._objective.evaluate(self) if self._queue else iter(())
        try:
            for outcome in stream:
                self.shield.check()  # before an outcome that a signal cut short counts
                schedule = schedules[outcome.trial]
                self._check(schedule, outcome)
                held[schedule][outcome.replicate] = self._trim(outcome)
                self.done += 1
                if all(r in held[schedule] for r in range(seeds)):
                    with self.shield:
                        self.store.keep_measured(stage, schedule, held[schedule])
                self._callback.compared_runs(self.done)
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        return {
            s: [math.inf if (v := held[s][r].value) is None else v for r in range(seeds)]
            for s in schedules
        }

    def _losses(
        self, schedules: Sequence[Schedule], seeds: int
    ) -> dict[Schedule, list[tuple[tuple[int, ...], tuple[float, ...]]]]:
        known = self.store.measured("report")
        return {
            s: [
                (trace.updates, trace.values)
                for r in range(seeds)
                if (trace := known[s][r].traces.get("loss")) is not None
            ]
            for s in schedules
        }

    def _run(self, schedule: Schedule, replicate: int) -> Run:
        search, setup = self._search, self._objective.setup
        index = self._schedules.index(schedule)
        return Run(
            trial=index,
            replicate=replicate,
            seed=stream_seed(search.seed, self._stage, replicate),
            plan=schedule.plan(search.steps, search.batch, momentum=setup.momentum),
            stops=search.pruner != "none",
            untrained=setup.untrained,
            folder=self._folder(schedule, replicate),
            limit=search.trial_timeout,
        )

    def _folder(self, schedule: Schedule, replicate: int) -> Path:
        return self._search.location.runs / f"{self._stage}-{digest(schedule)}-{replicate}"

    def _trim(self, outcome: Outcome) -> Outcome:
        """Of the selection only values are kept; curves are drawn of what is reported."""
        if self._stage == "report":
            return outcome
        return dataclasses.replace(outcome, traces={}, figures={})

    def _check(self, schedule: Schedule, outcome: Outcome) -> None:
        if outcome.state == "failed":
            raise SearchFailed(
                f"a comparison run of {schedule!r} failed: {outcome.reason}; the study itself "
                "is whole, and `lrsearch compare` goes on",
                outcome.details,
            )
