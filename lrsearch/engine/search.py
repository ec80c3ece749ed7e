"""One loop for every search: runs go out as the objective has room, outcomes come in.

The engine decides how many runs may be in flight, joins the runs of a trial, writes each ended
trial once, and tells the tracker and whoever listens. Built-in objectives, users' functions and
populations on a GPU are all driven by these lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lrsearch.contract import Elastic, Objective, Run, Setup, StudyFacts, Tracker
from lrsearch.engine.interrupts import Interrupted, Shield, interruptible
from lrsearch.engine.request import AUTO, Search
from lrsearch.engine.sampling import Advisor
from lrsearch.engine.storage import Store, StudyRecord
from lrsearch.errors import SearchFailed
from lrsearch.ranges import Value
from lrsearch.result import Outcome, Result, Trial
from lrsearch.schedule import Schedule
from lrsearch.seeding import run_seed

__all__ = ["Listener", "Silent", "run_search"]

#: A search gives up once this many trials in a row have failed.
HOPELESS = 3


class Listener(Protocol):
    """Who wants to see a search go on."""

    def begin(self, result: Result, total: int) -> None:
        """The search starts from what the study already holds, and goes on to `total` trials."""
        ...

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """One more trial has ended; `result` counts it."""
        ...


class Silent:
    """Nobody watches."""

    def begin(self, result: Result, total: int) -> None:
        """Does nothing."""

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """Does nothing."""


def run_search(
    search: Search, objective: Objective, tracker: Tracker, listener: Listener
) -> Result:
    """Searches until as many trials have ended as were asked for.

    Args:
        search: what is asked for.
        objective: what answers.
        tracker: where people look.
        listener: who watches.

    Raises:
        RequestError: the study is of another request or in use.
        SearchFailed: trials keep failing.
        Interrupted: a signal came; everything that had ended is kept.
    """
    setup, shield = objective.setup, Shield()
    record = _record(search, setup)
    with interruptible(shield), Store.hold(search.study, search.path, record) as store:
        loop = _Loop(search, objective, store, tracker, listener, shield)
        if loop.complete:
            _find_optimum(search, objective, store)
            return loop.result()
        tracker.start(_facts(search, setup, store.identity, loop.slots))
        state = "failed"
        try:
            loop.drive()
            _find_optimum(search, objective, store)
            state = "finished"
        except Interrupted as interrupt:
            state = "interrupted"
            raise Interrupted(
                interrupt.number,
                f"interrupted with {loop.ended} of {search.trials} trials ended, all of them "
                "kept; the same command goes on",
            ) from None
        finally:
            with shield:
                tracker.finish(loop.result(), state)
                store.set_tracking(tracker.uri, tracker.run_id)
        return loop.result()


def _record(search: Search, setup: Setup) -> StudyRecord:
    return StudyRecord(
        objective=setup.name,
        options=setup.options,
        version=setup.version,
        space=search.space,
        steps=search.steps,
        batch=search.batch,
        seeds=search.seeds,
        seed=search.seed,
        unit=setup.unit,
        momentum=setup.momentum,
    )


def _facts(search: Search, setup: Setup, identity: str, slots: int) -> StudyFacts:
    return StudyFacts(
        study=search.study,
        identity=identity,
        setup=setup,
        space=search.space,
        steps=search.steps,
        batch=search.batch,
        seeds=search.seeds,
        seed=search.seed,
        trials=search.trials,
        slots=slots,
        sampler=search.sampler,
        storage=str(search.path),
    )


def _find_optimum(search: Search, objective: Objective, store: Store) -> None:
    """The reference is of plain SGD at a constant batch: no other search is held against it."""
    growth = search.space.entries.get("batch_growth", 1.0)
    momentum = search.space.entries.get("momentum", objective.setup.momentum)
    if store.optimum is None and growth == 1.0 and not momentum:
        optimum = objective.optimum(search.steps, search.batch)
        if optimum is not None:
            store.set_optimum(optimum)


def window(slots: int, seeds: int) -> int:
    """W: how many trials before it a trial cannot see.

    0 for one run at a time. 2K-1 where K trials are in flight keeps 98 % of the slots busy when
    half of the trials diverge early, where K-1 keeps 61 % (measured in simulation).
    """
    return 0 if slots == 1 else 2 * -(-slots // seeds) - 1


def useful_slots(trials: int, seeds: int) -> int:
    """The most slots with which no more than a third of the trials are asked without an answer."""
    return seeds * max(1, (trials // 3 + 1) // 2)


def _fix_slots(search: Search, objective: Objective, store: Store) -> int:
    """The number of slots of this call; a new study keeps its number, and W, for good."""
    asked, slots = search.slots, objective.setup.slots
    if store.slots is None:
        if isinstance(asked, int):
            slots = asked
        elif isinstance(objective, Elastic) and slots is None:
            slots = objective.fit(
                useful_slots(search.trials, search.seeds),
                steps=search.steps,
                batch=search.batch,
                thorough=asked == AUTO,
            )
        store.set_slots(slots or 1, window(slots or 1, search.seeds))
    return asked if isinstance(asked, int) else store.slots or 1


@dataclass
class _Open:
    """A trial in flight."""

    schedule: Schedule
    point: Mapping[str, Value]
    outcomes: dict[int, Outcome] = field(default_factory=dict)


class _Loop:
    """The state of one search while it runs; what objectives see of it is `slots` and `take`."""

    def __init__(
        self,
        search: Search,
        objective: Objective,
        store: Store,
        tracker: Tracker,
        listener: Listener,
        shield: Shield,
    ) -> None:
        setup = objective.setup
        store.enqueue(search.enqueued)
        self.slots = _fix_slots(search, objective, store)
        self._search = search
        self._objective = objective
        self._setup = setup
        self._store = store
        self._tracker = tracker
        self._listener = listener
        self._shield = shield
        self._began = time.perf_counter()
        self._trials = store.trials()
        self._open: dict[int, _Open] = {}
        self._waiting: list[Run] = []
        self._next = 0
        self._failed = 0
        self._advisor = Advisor(
            search.space,
            first=[*self._queue(store.enqueued), search.first],
            sampler=search.sampler,
            seed=search.seed,
            window=store.window,
            positive=setup.positive,
            exact=setup.exact,
            untrained=setup.untrained,
        )
        for trial in self._trials.values():
            self._advisor.tell(trial)

    def drive(self) -> None:
        """Runs the stream to its end."""
        self._listener.begin(self.result(), self._search.trials)
        outcomes = self._objective.evaluate(self)
        try:
            self._receive_all(outcomes)
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()

    def take(self, room: int) -> list[Run]:
        """At most `room` runs that may start now; see `lrsearch.contract.Runs`."""
        taken: list[Run] = []
        with self._shield:
            while len(taken) < room and (self._waiting or self._begin_trial()):
                taken.append(self._waiting.pop(0))
        return taken

    def result(self) -> Result:
        """What the study holds now."""
        return self._store.result(
            self._trials,
            seconds=time.perf_counter() - self._began,
        )

    @property
    def complete(self) -> bool:
        """Whether as many trials have ended as were asked for."""
        return all(index in self._trials for index in range(self._search.trials))

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return len(self._trials)

    def _receive_all(self, outcomes: Iterator[Outcome]) -> None:
        for outcome in outcomes:
            trial = self._open[outcome.trial]
            trial.outcomes[outcome.replicate] = outcome
            if len(trial.outcomes) == self._search.seeds:
                with self._shield:
                    self._end_trial(outcome.trial)

    def _begin_trial(self) -> bool:
        """Asks for the next trial, if one may begin; trials of earlier sessions are replayed."""
        search, free = self._search, self._search.space.free
        while self._next < search.trials and self._advisor.ready(self._next):
            index = self._next
            known = self._trials.get(index)
            if known is not None:
                fields = known.schedule.to_dict()
                self._advisor.ask(index, {name: fields[name] for name in free})
                self._next += 1
                continue
            if search.timeout is not None and time.perf_counter() - self._began > search.timeout:
                return False
            point = self._advisor.ask(index)
            self._next += 1
            queue = self._store.enqueued
            schedule = queue[index] if index < len(queue) else search.space.schedule(point)
            self._open[index] = _Open(schedule, point)
            plan = schedule.plan(search.steps, search.batch, momentum=self._setup.momentum)
            self._waiting = [
                Run(
                    trial=index,
                    replicate=replicate,
                    seed=run_seed(search.seed, replicate),
                    plan=plan,
                    stops=search.pruner != "none",
                    untrained=self._setup.untrained,
                    folder=self._folder(index, replicate),
                )
                for replicate in range(search.seeds)
            ]
            return True
        return False

    def _end_trial(self, index: int) -> None:
        ended = self._open.pop(index)
        outcomes = tuple(ended.outcomes[i] for i in range(self._search.seeds))
        trial = Trial(index=index, schedule=ended.schedule, outcomes=outcomes)
        self._advisor.tell(trial)
        self._store.add(trial, ended.point, self._advisor.penalty(trial))
        self._trials[index] = trial
        self._tracker.trial_ended(trial)
        self._listener.trial_ended(trial, self.result())
        self._failed = self._failed + 1 if trial.state == "failed" else 0
        if self._failed == HOPELESS:
            raise SearchFailed(
                f"{HOPELESS} trials in a row failed, the last with: {trial.reason}",
                trial.details,
            )

    def _queue(self, enqueued: Sequence[Schedule]) -> Iterator[Mapping[str, Value] | None]:
        """Points of the enqueued schedules, None for those outside the space."""
        search, momentum = self._search, self._setup.momentum
        for schedule in enqueued:
            yield search.space.point(schedule, search.steps, search.batch, momentum)

    def _folder(self, index: int, replicate: int) -> Path:
        """Beside the journal: `STUDY.runs/0042-0`."""
        path = self._search.path
        return path.with_name(f"{self._search.study}.runs") / f"{index:04d}-{replicate}"
