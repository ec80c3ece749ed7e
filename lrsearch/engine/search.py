"""One loop for every search: runs go out as the objective has room, outcomes come in.

The engine decides how many runs may be in flight, joins the runs of a trial, writes each ended
trial once, and tells the tracker and whoever listens. Built-in objectives, users' functions and
populations on a GPU are all driven by these lines.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.contract import NoProbes, Objective, Probes, Run, Tracker
from lrsearch.engine.confirm import Confirmer, seconds_a_run
from lrsearch.engine.importance import importances
from lrsearch.engine.interrupts import Interrupted, Shield, interruptible
from lrsearch.engine.listener import Listener
from lrsearch.engine.racing import Race
from lrsearch.engine.record import study_record
from lrsearch.engine.request import Confirm, Search
from lrsearch.engine.sampling import Advisor
from lrsearch.engine.slots import fix_slots
from lrsearch.engine.storage import Store
from lrsearch.errors import SearchFailed
from lrsearch.ranges import Value
from lrsearch.result import Outcome, Result, Trial
from lrsearch.schedule import Plan, Schedule
from lrsearch.seeding import run_seed

__all__ = ["run_search"]

#: A search gives up once this many trials in a row have failed.
HOPELESS = 3


def run_search(
    search: Search,
    objective: Objective,
    tracker: Tracker,
    listener: Listener,
    confirm: Confirm | None = None,
    probes: Probes | None = None,
) -> Result:
    """Searches until as many trials have ended as were asked for, then confirms what it found.

    Args:
        search: what is asked for.
        objective: what answers.
        tracker: where people look.
        listener: who watches.
        confirm: how the best schedule is held against baselines; None leaves it.
        probes: what is measured beside losses; None is nothing.

    Raises:
        RequestError: the study is of another request or in use.
        SearchFailed: trials keep failing.
        Interrupted: a signal came; everything that had ended is kept.
    """
    setup, shield = objective.setup, Shield()
    probes = NoProbes() if probes is None else probes
    record = study_record(search, setup)
    with interruptible(shield), Store.hold(search.study, search.path, record) as store:
        loop = _Loop(search, objective, store, tracker, listener, shield, probes)
        known = confirm is None or (confirm.frugal and loop.result().confirmed is not None)
        if loop.complete and known:
            _find_optimum(search, objective, store)
            return loop.result()
        if not loop.complete:
            store.keep_facts(setup, sampler=search.sampler, diagnostics=probes.level)
        tracker.start(store.facts(search.trials), loop.result().trials)
        store.set_tracking(tracker.uri, store.tracking[1])
        state = "failed"
        try:
            if not loop.complete:
                loop.drive()
            _find_optimum(search, objective, store)
            if confirm is not None and loop.complete and loop.result().ranked:
                confirmer = Confirmer(search, objective, store, shield, listener)
                _confirm(loop.result(), confirmer, confirm, store, listener)
            state = "finished"
        except SearchFailed as error:
            error.result = loop.result() if loop.complete else None
            raise
        except Interrupted as interrupt:
            state = "interrupted"
            raise Interrupted(
                interrupt.number,
                f"interrupted with {loop.ended} of {search.trials} trials ended; all that was "
                "measured is kept, and the same command goes on",
            ) from None
        finally:
            with shield:
                tracker.finish(loop.result(), state)
                store.set_tracking(tracker.uri, tracker.run_id)
        return loop.result()


def _find_optimum(search: Search, objective: Objective, store: Store) -> None:
    """The reference is of plain SGD at a constant batch: no other search is held against it."""
    growth = search.space.entries.get("batch_growth", 1.0)
    momentum = search.space.entries.get("momentum", objective.setup.momentum)
    if store.optimum is None and growth == 1.0 and not momentum:
        optimum = objective.optimum(search.steps, search.batch)
        if optimum is not None:
            store.set_optimum(optimum)


def _confirm(
    result: Result, confirmer: Confirmer, asked: Confirm, store: Store, listener: Listener
) -> None:
    """Holds the best schedules against the baselines, or says what that would cost."""
    protocol, each = confirmer.plan(result, asked), seconds_a_run(result)
    if protocol is None:
        whole = confirmer.plan(result, dataclasses.replace(asked, frugal=False))
        if whole is not None:
            listener.declined(whole.describe(), whole.runs * each)
        return
    done = confirmer.known(protocol)
    left = protocol.runs - done
    listener.confirming(protocol.describe(), left * each, protocol.runs, done)
    found = dataclasses.replace(confirmer.run(protocol), importance=importances(store))
    store.set_confirmed(found, len(result.trials))


@dataclass
class _Open:
    """A trial in flight; `begun` counts the runs of it that have started."""

    schedule: Schedule
    point: Mapping[str, Value]
    plan: Plan
    begun: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    race: Race | None = None


class _Loop:
    """The state of one search; what objectives see of it is `slots`, `probes` and `take`."""

    def __init__(
        self,
        search: Search,
        objective: Objective,
        store: Store,
        tracker: Tracker,
        listener: Listener,
        shield: Shield,
        probes: Probes,
    ) -> None:
        setup = objective.setup
        self.probes = probes
        store.enqueue(search.enqueued)
        self.slots = fix_slots(search, objective, store)
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
        self._next = 0
        self._failed = 0
        self._races = search.seeds > 1 and search.pruner != "none"
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
            while len(taken) < room and (run := self._next_run()) is not None:
                taken.append(run)
        return taken

    def result(self) -> Result:
        """What the study holds now."""
        return self._store.result(self._trials, seconds=time.perf_counter() - self._began)

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
            trial = self._open.get(outcome.trial)
            if trial is None:
                continue  # it was given up before this seed of it had ended
            complete = self.probes.complete(self._setup, trial.plan, outcome)
            trial.outcomes[outcome.replicate] = complete
            with self._shield:
                while any(self._settle(index) for index in sorted(self._open)):
                    pass  # an ended trial may be what another was waiting for

    def _settle(self, index: int) -> bool:
        """Ends a trial whose last seed has ended, or whose first ones leave no hope."""
        trial, values = self._open[index], list[float]()
        for replicate in range(self._search.seeds):
            outcome = trial.outcomes.get(replicate)
            if outcome is None:
                return False
            if outcome.value is None:
                self._end_trial(index, replicate + 1)
                return True
            values.append(outcome.value)
            if replicate + 1 == self._search.seeds:
                self._end_trial(index, replicate + 1)
                return True
            if self._races:
                if trial.race is None and not self._can_race(index):
                    return False
                trial.race = trial.race or Race(self._seen_by(index), self._search.seeds)
                if trial.race.lost(values):
                    estimate = trial.race.estimate(values)
                    trial.outcomes[replicate + 1] = _given_up(index, replicate + 1, estimate)
                    self._end_trial(index, replicate + 2)
                    return True
        return False

    def _can_race(self, index: int) -> bool:
        """Whether all that a trial may see has ended, so that its race hangs on nothing else."""
        return all(i in self._trials for i in range(index - self._store.window))

    def _seen_by(self, index: int) -> dict[int, Trial]:
        return {i: self._trials[i] for i in range(index - self._store.window)}

    def _next_run(self) -> Run | None:
        """The run that may start next.

        First the next seed of a trial whose seeds so far have ended, then a new trial, then seeds
        ahead of their turn, so that no slot stays empty.
        """
        trials = sorted(self._open.items())
        for index, trial in trials:
            due = trial.begun == len(trial.outcomes) or not self._races
            if due and trial.begun < self._search.seeds:
                return self._run(index, trial)
        begun = self._begin_trial()
        if begun is not None:
            return self._run(begun, self._open[begun])
        for index, trial in trials:
            if trial.begun < self._search.seeds:
                return self._run(index, trial)
        return None

    def _run(self, index: int, trial: _Open) -> Run:
        replicate = trial.begun
        trial.begun += 1
        return Run(
            trial=index,
            replicate=replicate,
            seed=run_seed(self._search.seed, replicate),
            plan=trial.plan,
            stops=self._search.pruner != "none",
            untrained=self._setup.untrained,
            folder=self._folder(index, replicate),
        )

    def _begin_trial(self) -> int | None:
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
                return None
            point = self._advisor.ask(index)
            self._next += 1
            queue = self._store.enqueued
            schedule = queue[index] if index < len(queue) else search.space.schedule(point)
            plan = schedule.plan(search.steps, search.batch, momentum=self._setup.momentum)
            self._open[index] = _Open(schedule, point, plan)
            return index
        return None

    def _end_trial(self, index: int, seeds: int) -> None:
        ended = self._open.pop(index)
        outcomes = tuple(ended.outcomes[i] for i in range(seeds))
        trial = Trial(index=index, schedule=ended.schedule, outcomes=outcomes)
        self._advisor.tell(trial)
        self._store.add(trial, ended.point, self._advisor.penalty(trial))
        self._trials[index] = trial
        self._tracker.trial_ended(trial)
        self._listener.trial_ended(trial, self.result())
        self._failed = self._failed + 1 if trial.state == "failed" else 0
        if self._failed == HOPELESS:
            raise SearchFailed(
                f"{HOPELESS} trials in a row failed, the last with: {trial.reason}; when that is "
                "mended, search under another --study name",
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


def _given_up(index: int, replicate: int, estimate: float) -> Outcome:
    """What stands for the seeds of a trial that need not run."""
    return Outcome(
        trial=index,
        replicate=replicate,
        state="pruned",
        reason=f"its first {replicate} seeds are worse than the best trial's by far",
        figures={"estimate": estimate},
    )
