"""One loop for every search: runs go out as the objective has room, outcomes come in.

It decides how many runs may be in flight, joins the runs of a trial, writes each ended trial once,
and tells the tracker and whoever listens. Proxies, functions and populations are driven by these
lines, and so is every process that shares a study: what others end arrives as if it ended here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lrsearch.contract import Objective, Probes, Run
from lrsearch.errors import SearchFailed
from lrsearch.ranges import Value
from lrsearch.result import Outcome, Result, Trial
from lrsearch.sampling.advisor import Advisor
from lrsearch.schedule import Plan, Schedule
from lrsearch.search.callbacks import Callback
from lrsearch.search.leader import Leader
from lrsearch.search.seed_pruning import SeedPruner
from lrsearch.search.signals import Shield
from lrsearch.search.slots import parallel
from lrsearch.seeding import run_seed
from lrsearch.study.attempts import Attempts
from lrsearch.study.request import Search
from lrsearch.study.store import Store
from lrsearch.study.trials import RunningTrial, reading

__all__ = ["Loop"]

#: Seconds between two looks at what other processes have done, while there is nothing to do here.
POLL = 0.2
#: Seconds for which a look is good enough to begin a trial: what is begun is looked at once more.
FRESH = 0.05


@dataclass
class _Open:
    """A trial in flight; `begun` counts the runs of it that have started."""

    schedule: Schedule
    plan: Plan
    retries: int
    begun: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    race: SeedPruner | None = None


class Loop:
    """The state of one search; what objectives see of it is `slots`, `probes` and `take`.

    Args:
        search, objective: what is asked for, and what answers.
        store: the study.
        running: what this process has begun of it.
        lead: whether this process tells the tracker.
        callback: who watches.
        shield: holds signals back while a record is written.
        probes, slots: what is measured beside losses, and runs in flight.
    """

    def __init__(
        self,
        search: Search,
        objective: Objective,
        store: Store,
        running: Attempts,
        lead: Leader,
        callback: Callback,
        shield: Shield,
        probes: Probes,
        slots: int,
    ) -> None:
        setup = objective.setup
        self.slots, self.probes = slots, probes
        self._search, self._objective, self._setup = search, objective, setup
        self._store, self._table, self._running_trials = store, store.table, running
        self._lead, self._callback, self._shield = lead, callback, shield
        self._began = time.perf_counter()
        self._open: dict[int, _Open] = {}
        self._points: list[Mapping[str, Value]] = []  # of the trials that were asked for, by index
        self._left: set[int] = set()  # those of them that another process is at
        self._failed = 0
        self._heard = -math.inf
        self._waits_for = ""
        self._free = tuple(search.space.free)
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
        self._table.news.clear()
        for trial in self._table.trials.values():
            self._advisor.tell(trial)

    def drive(self) -> None:
        """Runs the stream to its end."""
        self._callback.begin(self.result(), self._search.trials)
        outcomes = self._objective.evaluate(self)
        try:
            self._receive_all(outcomes)
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()

    def take(self, room: int) -> list[Run]:
        """At most `room` runs that may start now; see `lrsearch.contract.Runs`.

        With nothing in flight it waits for what other processes are at, as long as there is more
        to do here when they have ended.
        """
        pause = POLL
        self._shield.check()
        while True:
            taken: list[Run] = []
            with self._shield:
                if time.monotonic() - self._heard > FRESH:
                    self._hear()
                while len(taken) < room and (run := self._next_run()) is not None:
                    taken.append(run)
            if taken or self._open or room < 1 or self.complete or self._late:
                return taken
            self._say_who_is_waited_for()
            time.sleep(pause)
            pause = min(2 * pause, 5 * POLL)

    def say_what_it_waits_for(self, what: str) -> None:
        """Tells the listener once that it is waiting."""
        if what != self._waits_for:
            self._callback.waiting(what)
        self._waits_for = what

    def _say_who_is_waited_for(self) -> None:
        held = sorted(self._table.running.values(), key=lambda attempt: attempt.index)
        if held:
            what = f"trial {held[0].index}, which another process is at"
            if not self._advisor.independent:
                founded = parallel(self._store.window, self._search.seeds)
                what += f" (founded for {founded} at once; see --parallel)"
            self.say_what_it_waits_for(what)

    def result(self) -> Result:
        """What the study holds now."""
        return self._store.result(self._table.trials, seconds=time.perf_counter() - self._began)

    @property
    def complete(self) -> bool:
        """Whether as many trials have ended as were asked for."""
        return self._table.complete(self._search.trials)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return len(self._table.trials)

    @property
    def _late(self) -> bool:
        timeout = self._search.timeout
        return timeout is not None and time.perf_counter() - self._began > timeout

    def _receive_all(self, outcomes: Iterator[Outcome]) -> None:
        for outcome in outcomes:
            self._shield.check()  # before an outcome that a signal cut short counts
            trial = self._open.get(outcome.trial)
            if trial is None:
                continue  # it was given up before this seed of it had ended
            complete = self.probes.complete(self._setup, trial.plan, outcome)
            trial.outcomes[outcome.replicate] = complete
            with self._shield:
                self._hear()
                while any(self._settle(index) for index in sorted(self._open)):
                    pass  # an ended trial may be what another was waiting for

    def _hear(self) -> None:
        """Takes in what other processes have ended, and gives back what dead ones were at."""
        self._table.refresh()
        self._heard = time.monotonic()
        self._running_trials.reap()
        news, self._table.news = self._table.news, []
        for trial in news:
            self._tell(trial)
        if not self._lead.mine and not self.complete:
            self._lead.follow(self._table.trials.values())

    def _tell(self, trial: Trial) -> None:
        self._left.discard(trial.index)
        self._advisor.tell(trial)
        self._lead.trial_ended(trial)
        self._callback.trial_ended(trial, self.result())

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
                trial.race = trial.race or SeedPruner(self._seen_by(index), self._search.seeds)
                if trial.race.lost(values):
                    estimate = trial.race.estimate(values)
                    trial.outcomes[replicate + 1] = _given_up(index, replicate + 1, estimate)
                    self._end_trial(index, replicate + 2)
                    return True
        return False

    def _can_race(self, index: int) -> bool:
        """Whether all that a trial may see has ended, so that its race hangs on nothing else."""
        return all(i in self._table.trials for i in range(index - self._store.window))

    def _seen_by(self, index: int) -> dict[int, Trial]:
        return {i: self._table.trials[i] for i in range(index - self._store.window)}

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
        while (begun := self._begin_trial()) is not None:
            if begun in self._open:  # and not one that has been lost too often
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
            folder=self._search.location.runs / f"{index:04d}-{replicate}",
            limit=self._search.trial_timeout,
            retries=trial.retries,
        )

    def _begin_trial(self) -> int | None:
        """Begins the next trial, if one may begin: first what a dead process has left."""
        for index in sorted(self._left - self._table.running.keys()):
            if not self._late and self._open_trial(index):
                return index
        while len(self._points) < self._search.trials and self._advisor.ready(len(self._points)):
            index = len(self._points)
            known, other = self._table.trials.get(index), self._table.running.get(index)
            if known is not None or other is not None:
                with reading(self._store.location):  # a point may be none of the space's
                    self._points.append(self._advisor.ask(index, _point(known, other, self._free)))
                if known is None:
                    self._left.add(index)
            elif self._late:
                return None
            else:
                self._points.append(self._advisor.ask(index))
                if self._open_trial(index):
                    return index
        return None

    def _open_trial(self, index: int) -> bool:
        """Begins a trial whose point is known, unless another process was faster."""
        if not self._running_trials.begin(index, self._points[index]):
            self._left.add(index)
            return False
        self._left.discard(index)
        search, queue = self._search, self._store.enqueued
        first = index < len(queue)
        schedule = queue[index] if first else search.space.schedule(self._points[index])
        plan = schedule.plan(search.steps, search.batch, momentum=self._setup.momentum)
        trial = _Open(schedule, plan, self._table.lost[index])
        self._open[index] = trial
        if trial.retries > search.max_retries:
            reason = f"its process died {trial.retries} times"
            trial.outcomes[0] = self._run(index, trial).end("failed", reason=reason)
            self._end_trial(index, 1)
        return True

    def _end_trial(self, index: int, seeds: int) -> None:
        ended = self._open.pop(index)
        outcomes = tuple(ended.outcomes[i] for i in range(seeds))
        trial = Trial(index=index, schedule=ended.schedule, outcomes=outcomes)
        counts = self._running_trials.end(trial, self._advisor.penalty(trial))
        if not counts:
            self._left.add(index)
            return
        self._table.news = [t for t in self._table.news if t.index != index]
        self._tell(trial)
        self._failed = self._failed + 1 if trial.state == "failed" else 0
        if self._failed == self._search.max_failures:
            raise SearchFailed(
                f"{self._failed} trials in a row failed, the last with: {trial.reason}; when that "
                "is mended, search under another --study name, or allow more with --max-failures",
                trial.details,
            )

    def _queue(self, enqueued: Sequence[Schedule]) -> Iterator[Mapping[str, Value] | None]:
        """Points of the enqueued schedules, None for those outside the space."""
        search, momentum = self._search, self._setup.momentum
        for schedule in enqueued:
            yield search.space.point(schedule, search.steps, search.batch, momentum)


def _point(
    known: Trial | None, other: RunningTrial | None, free: Iterable[str]
) -> Mapping[str, Value]:
    """What a trial that others began was asked for with."""
    if known is None:
        return {} if other is None else other.point
    fields = known.schedule.to_dict()
    return {name: fields[name] for name in free}


def _given_up(index: int, replicate: int, estimate: float) -> Outcome:
    """What stands for the seeds of a trial that need not run."""
    return Outcome(
        trial=index,
        replicate=replicate,
        state="pruned",
        reason=f"its first {replicate} seeds are worse than the best trial's by far",
        figures={"estimate": estimate},
    )
