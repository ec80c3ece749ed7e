"""The loop of every search: the objective pulls runs, and the loop receives their outcomes.

It decides how many runs may be in flight, joins the runs of a trial, stores each ended trial once,
and notifies the tracker and the callback. It drives proxies, functions and populations, in one
process or in many that share a study: trials of other processes are received like local ones.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lrsearch.contract import Objective, Probes
from lrsearch.errors import SearchFailed
from lrsearch.outcome import Outcome, Trial
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.search.asking import Asker
from lrsearch.search.callbacks import Callback
from lrsearch.search.leader import Leader
from lrsearch.search.open_trial import OpenTrial, skipped
from lrsearch.search.seed_pruning import SeedPruner
from lrsearch.search.signals import Shield
from lrsearch.search.slots import parallel
from lrsearch.search.stream import RunStream
from lrsearch.seeding import run_seed
from lrsearch.study.location import run_folder
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store
from lrsearch.study.trial_records import reading

#: Seconds between two reads of the study while this process waits for other processes.
POLL = 0.2
#: Seconds after a read of the study within which trials may begin without another read. A process
#: that begins a trial first checks that no other process has begun it.
FRESH = 0.05


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """The observers of a search.

    Attributes:
        leader: decides whether this process writes to the tracker.
        callback: the caller's callback.
        probes: measurements besides losses.
    """

    leader: Leader
    callback: Callback
    probes: Probes


class Loop(RunStream):
    """The state of one search.

    Args:
        spec, objective, store, shield, slots: arguments of `RunStream`.
        watchers: observers of the search.
        retry: True to run the trials again that failed in earlier searches.
    """

    def __init__(
        self,
        spec: StudySpec,
        objective: Objective,
        store: Store,
        shield: Shield,
        slots: int,
        watchers: Watchers,
        *,
        retry: bool = True,
    ) -> None:
        super().__init__(spec, objective, store, shield, slots)
        self.probes = watchers.probes
        self._table = store.table
        self._leader, self._callback = watchers.leader, watchers.callback
        self._began = time.perf_counter()
        self._open: dict[int, OpenTrial] = {}
        self._replicates: dict[int, int] = {}  # replicate of a trial's first run
        self._left: set[int] = set()  # trials that another process runs, or that failed before
        # Trials that failed before this search.
        self._retry = self._table.to_retry(spec.max_retries) if retry else set[int]()
        self._failed = 0
        self._heard = -math.inf
        self._waits_for = ""
        self._free = tuple(spec.space.free)
        self._races = spec.seeds > 1 and spec.pruner != "none"
        first = [*(spec.space.point(s, spec.budget) for s in store.enqueued), spec.first]
        self._asker = Asker(spec, self._setup, first=first, window=store.window)
        self._table.news.clear()
        for trial in self._table.trials.values():
            if trial.index not in self._retry:
                self._asker.tell(trial)

    def drain(self) -> None:
        """Run the search to its end."""
        self._callback.begin(self.result(), self.spec.trials)
        super().drain()

    def take(self, room: int) -> list[Run]:
        """Return at most `room` runs that may start now; see `lrsearch.contract.Runs`.

        If nothing is in flight, the call waits for trials of other processes, as long as more
        trials can start here afterwards.
        """
        pause = POLL
        self.shield.check()
        while True:
            taken: list[Run] = []
            with self.shield:
                if time.monotonic() - self._heard > FRESH:
                    self._hear()
                while len(taken) < room and (run := self._next_run()) is not None:
                    taken.append(run)
            if taken or self._open or room < 1 or self.complete or self._late:
                return taken
            self._report_waiting()
            time.sleep(pause)
            pause = min(2 * pause, 5 * POLL)

    def say_what_it_waits_for(self, what: str) -> None:
        """Tell the callback once that the search is waiting."""
        if what != self._waits_for:
            self._callback.waiting(what)
        self._waits_for = what

    def _report_waiting(self) -> None:
        if self._table.running:
            what = f"trial {min(self._table.running)}, which another process runs"
            if not self._asker.independent:
                planned = parallel(self.store.window, self.spec.seeds)
                what += f" (this study allows {planned} runs at the same time; see `parallel=`)"
            self.say_what_it_waits_for(what)

    def result(self) -> Result:
        """Return the current result of the study."""
        return self.store.result(self._table.trials, seconds=time.perf_counter() - self._began)

    @property
    def complete(self) -> bool:
        """True if enough trials have ended without failing, and failed ones were retried."""
        return not self._retry and self._table.complete(self.spec.trials)

    @property
    def ended(self) -> int:
        """Number of trials that have ended without failing."""
        return len(self._table.trials) - len(self._table.failed)

    @property
    def _late(self) -> bool:
        timeout = self.spec.timeout
        return timeout is not None and time.perf_counter() - self._began > float(timeout)

    def receive(self, outcome: Outcome) -> None:
        """Receive the outcome of a run, and end the trials that are complete."""
        trial = self._open.get(outcome.trial)
        if trial is None:
            return  # the trial has already ended, for example by pruning
        complete = self.probes.complete(self._setup, trial.plan, outcome)
        trial.outcomes[outcome.replicate - trial.first] = complete
        with self.shield:
            self._hear()
            while any(self._settle(index) for index in sorted(self._open)):
                pass  # after the end of one trial, another one may be pruned

    def _hear(self) -> None:
        """Receive trials of other processes, and release trials of dead processes."""
        self._table.refresh()
        self._heard = time.monotonic()
        self._table.reap()
        news, self._table.news = self._table.news, []
        for trial in news:
            self._tell(trial)
        if not self._leader.mine and not self.complete:
            self._leader.follow(self._table.trials.values())

    def _tell(self, trial: Trial) -> None:
        self._left.discard(trial.index)
        self._retry.discard(trial.index)
        self._asker.tell(trial)
        self._leader.trial_ended(trial)
        self._callback.trial_ended(trial, self.result())

    def _settle(self, index: int) -> bool:
        """End a trial if its last seed has ended, or if its first seeds are clearly worse."""
        trial, values = self._open[index], list[float]()
        for number in range(self.spec.seeds):
            outcome = trial.outcomes.get(number)
            if outcome is None:
                return False
            if outcome.value is None:
                self._end_trial(index, number + 1)
                return True
            values.append(outcome.value)
            if number + 1 == self.spec.seeds:
                self._end_trial(index, number + 1)
                return True
            if self._races and not trial.first:
                if trial.race is None and not self._can_race(index):
                    return False
                trial.race = trial.race or SeedPruner(self._seen_by(index), self.spec.seeds)
                if trial.race.lost(values):
                    estimate = trial.race.estimate(values)
                    trial.outcomes[number + 1] = skipped(index, number + 1, estimate)
                    self._end_trial(index, number + 2)
                    return True
        return False

    def _can_race(self, index: int) -> bool:
        """Return True if all trials that this trial may see have ended."""
        return all(
            i in self._table.trials and i not in self._retry
            for i in range(index - self.store.window)
        )

    def _seen_by(self, index: int) -> dict[int, Trial]:
        seen = (self._table.trials[i] for i in range(index - self.store.window))
        return {t.index: t for t in seen if not t.outcomes[0].replicate}

    def _next_run(self) -> Run | None:
        """Return the run that may start next, or None.

        The order is: the next seed of a trial whose seeds so far have ended, then a new trial,
        then further seeds ahead of their turn, so that no slot stays empty.
        """
        trials = sorted(self._open.items())
        for index, trial in trials:
            due = trial.begun == len(trial.outcomes) or not self._races
            if due and trial.begun < self.spec.seeds:
                return self._run(index, trial)
        while (begun := self._begin_trial()) is not None:
            if begun in self._open:  # not a trial that has failed after too many retries
                return self._run(begun, self._open[begun])
        for index, trial in trials:
            if trial.begun < self.spec.seeds:
                return self._run(index, trial)
        return None

    def _run(self, index: int, trial: OpenTrial) -> Run:
        replicate = trial.first + trial.begun
        trial.begun += 1
        return self.run(
            index,
            replicate,
            trial.schedule,
            trial.plan,
            seed=run_seed(self.spec.seed, replicate),
            folder=run_folder(index, replicate),
            retries=trial.retries,
        )

    def _begin_trial(self) -> int | None:
        """Begin the next trial if possible, starting with trials that failed or were lost."""
        self._recall()
        for index in sorted(self._left - self._table.running.keys()):
            if not self._late and self._open_trial(index):
                return index
        while self._missing and not self._late and self._asker.ready(len(self._asker.points)):
            index = len(self._asker.points)
            self._replicates[index] = self._asker.ask().replicate
            if self._open_trial(index):
                return index
            self._recall()
        return None

    @property
    def _missing(self) -> bool:
        """True if further trials are needed, even if none of those in flight fails."""
        table = self._table
        begun = self._open.keys() | table.running.keys() | self._left
        coming = sum(index not in table.trials or index in table.failed for index in begun)
        return not table.complete(self.spec.trials - coming)

    def _recall(self) -> None:
        """Recall the points of the trials that some process has begun, up to the first gap."""
        while True:
            index = len(self._asker.points)
            known, other = self._table.trials.get(index), self._table.running.get(index)
            if other is not None:
                point, replicate = other.point, other.replicate
            elif known is not None:
                fields = known.schedule.to_dict()
                point = {name: fields[name] for name in self._free}
                replicate = known.outcomes[0].replicate
            else:
                return
            with reading(self.store.location):  # the point may be outside the space
                self._asker.recall(point)
            self._replicates[index] = replicate
            if known is None or index in self._retry:
                self._left.add(index)

    def _open_trial(self, index: int) -> bool:
        """Begin a trial whose point is known, unless another process has begun it."""
        point, first = self._asker.points[index], self._replicates[index]
        if not self._table.begin(index, point or {}, first, retry=index in self._retry):
            self._left.add(index)
            return False
        self._left.discard(index)
        queue = self.store.enqueued
        enqueued = index < len(queue)
        schedule = queue[index] if enqueued else self.spec.space.schedule(point or {})
        plan = self.spec.budget.plan(schedule)
        trial = OpenTrial(schedule, plan, self._table.retries(index), first)
        self._open[index] = trial
        if trial.retries > self.spec.max_retries:
            reason = f"its process died {trial.retries} times"
            trial.outcomes[0] = self._run(index, trial).end("failed", reason=reason)
            self._end_trial(index, 1)
        return True

    def _end_trial(self, index: int, runs: int) -> None:
        ended = self._open.pop(index)
        outcomes = tuple(ended.outcomes[i] for i in range(runs))
        trial = Trial(index=index, schedule=ended.schedule, outcomes=outcomes)
        if not self._table.end(trial, self._asker.penalty(trial)):
            self._left.add(index)
            return
        self._table.news = [t for t in self._table.news if t.index != index]
        retried = index in self._retry
        self._tell(trial)
        if trial.state != "failed":
            self._failed = 0
        elif not retried:  # otherwise failures far apart in one search would stop the next one
            self._failed += 1
            if self._failed == self.spec.max_failures:
                many = "1 trial" if self._failed == 1 else f"{self._failed} trials in a row"
                raise SearchFailed(
                    f"{many} failed, the last with: {trial.reason}; fix "
                    "the error and run the same command again (failed trials are retried), or "
                    "allow more with `max_failures=`",
                    trial.details,
                )
