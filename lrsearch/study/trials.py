"""The table of a study's trials: which have ended, which are running, and which worker runs them.

Every attempt at a trial is a trial in Optuna. lrsearch has its own trial index. An attempt that is
lost with its process does not count, and the next attempt has the same index and the same
schedule. A trial that failed does not count either: a later search tries it again, and its last
outcome replaces the failure. An attempt ends once. If a worker that was taken for dead ends it a
second time, the storage refuses the write and the outcome is dropped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from lrsearch.codec import encode
from lrsearch.distributions import distributions
from lrsearch.errors import log
from lrsearch.outcome import Trial
from lrsearch.ranges import Value
from lrsearch.study.backend import Backend
from lrsearch.study.heartbeat import BROKEN, Heartbeat
from lrsearch.study.keys import ENDED, LOST, RUNNING
from lrsearch.study.locks import with_lock
from lrsearch.study.spec import StudySpec
from lrsearch.study.trial_records import Attempt, EndedTrial, attempt_of, reading

#: Seconds between two checks for dead workers: at least the first number, and the second one per
#: live worker. A thousand workers that check every second would keep a database fully busy.
LOOK_SECONDS, SECONDS_A_WORKER = 0.5, 0.05


class TrialTable:
    """The trials of one study, in its storage.

    Args:
        storage: storage of the study.
        study: id of the study in the storage.
        lock: lock of the study.
        location: location of the study, for messages.

    Attributes:
        spec: specification of the study; must be set before the table is used.
        trials: ended trials, by index; of a trial that was retried, the last outcome.
        failed: indices of the trials whose last outcome is a failure.
        running: running attempts, by index of the trial.
        lost: number of attempts that were lost with their process, by index of the trial.
        news: ended trials that the search has not yet removed from this list.
    """

    spec: StudySpec

    def __init__(
        self, storage: Backend, study: int, lock: AbstractContextManager[None], location: object
    ) -> None:
        self.trials: dict[int, Trial] = {}
        self.failed: set[int] = set()
        self.running: dict[int, Attempt] = {}
        self.lost: Counter[int] = Counter()
        self.news: list[Trial] = []
        self._storage, self._study, self._lock, self._location = storage, study, lock, location
        self._keys: dict[int, int] = {}  # Optuna's ids of running trials, by index
        self._excused: Counter[int] = Counter()  # attempts lost before a trial failed
        self._settled: set[int] = set()  # places of ended trials in the storage, from `_first`
        self._first = 0  # all trials before this position are settled
        self._heartbeat: Heartbeat | None = None
        self._mine: dict[int, int] = {}
        self._ended_here: set[int] = set()  # Optuna's ids of trials that this process has ended
        self._due = -math.inf  # next check for dead workers, on the monotonic clock

    def complete(self, trials: int) -> bool:
        """Return whether N trials have ended without failing."""
        return len(self.trials) - len(self.failed) >= trials

    def to_retry(self, max_retries: int) -> set[int]:
        """Return the failed trials that a new search runs again.

        A trial that has killed the processes of its searches would kill the next one too, so it is
        only run again if more deaths are allowed than before.

        Args:
            max_retries: allowed number of retries after a crashed process.
        """
        return {i for i in self.failed if self.trials[i].retries <= max_retries}

    def retries(self, index: int) -> int:
        """Return how many attempts at a trial were lost since it last failed, if it did."""
        return self.lost[index] - self._excused[index]

    def refresh(self) -> None:
        """Read the trials that were written since the last call.

        Raises:
            RequestError: a record was not written by lrsearch.
        """
        self.running = {}
        with reading(self._location):
            found = self._storage.get_trials_from(self._study, self._first)
            for place, frozen in enumerate(found, self._first):
                if place in self._settled:
                    continue
                trial = self._take(frozen)
                if frozen.state.is_finished():
                    self._settled.add(place)
                if trial is not None:
                    self._keep(trial)
                    self.news.append(trial)
        while self._first in self._settled:
            self._settled.discard(self._first)
            self._first += 1

    def _take(self, frozen: FrozenTrial) -> Trial | None:
        """Return a trial that has ended and was not known, or None; register a running one."""
        if frozen._trial_id in self._ended_here:
            return None
        ended = frozen.state.is_finished()
        # An outcome written after its worker was taken for dead is ignored: another worker runs
        # the trial.
        lost = frozen.user_attrs.get(LOST) and frozen.state == TrialState.FAIL
        attempt = attempt_of(frozen) if lost or not ended else None
        if not ended:
            if attempt is not None and attempt.index not in self.running:
                self.running[attempt.index] = attempt
                self._keys[attempt.index] = frozen._trial_id
            return None
        if attempt is not None:
            self.lost[attempt.index] += 1
            return None
        kept = frozen.user_attrs.get(ENDED)
        trial = None if kept is None else EndedTrial.read(kept).trial
        if trial is None or not self._is_open(trial.index):
            return None
        # Older versions stored enqueued schedules without the objective's momentum.
        schedule = trial.schedule.with_momentum(self.spec.momentum)
        return dataclasses.replace(trial, schedule=schedule)

    def _is_open(self, index: int) -> bool:
        """Return whether a trial has no outcome but failures."""
        return index not in self.trials or index in self.failed

    def join(self, heartbeat: Heartbeat) -> TrialTable:
        """Let this process run trials as a worker of the study; return the table."""
        self._heartbeat = heartbeat
        return self

    @property
    def _worker(self) -> str:
        return "" if self._heartbeat is None else self._heartbeat.worker.id

    def begin(
        self, index: int, point: Mapping[str, Value], replicate: int = 0, *, retry: bool = False
    ) -> bool:
        """Start a trial unless it has ended or another worker runs it; return whether it started.

        Args:
            index: index of the trial.
            point: values of the free fields; empty for a schedule outside the space.
            replicate: replicate of the first run.
            retry: True to start also a trial that has failed.
        """

        def take() -> bool:
            self.refresh()
            known = self.running.get(index)
            if known is not None and known.worker == self._worker:
                # This call had started the trial before its lock was lost.
                self._mine[index] = self._keys[index]
                return True
            ended = index in self.trials and not (retry and self._is_open(index))
            if known is not None or ended:
                return False
            attempt = Attempt(
                index=index,
                worker=self._worker,
                retry=self.retries(index),
                point=point,
                replicate=replicate,
            )
            searched = distributions(self.spec.space)
            running = create_trial(
                state=TrialState.RUNNING,
                params=dict(point),
                distributions={name: d for name, d in searched.items() if name in point},
                user_attrs={RUNNING: encode(attempt)},
            )
            self._mine[index] = self._storage.create_new_trial(self._study, running)
            return True

        return with_lock(self._lock, take)

    def end(self, trial: Trial, penalty: float | None) -> bool:
        """Store a trial that has ended; return whether it counts.

        It does not count if this process was taken for dead and another one ran the trial.

        Args:
            trial: the ended trial.
            penalty: finite value to report for a diverged trial, or None.
        """
        key, ended = self._mine.pop(trial.index), EndedTrial.of(trial, self.spec.id, penalty)
        try:
            if ended.final[0] != TrialState.FAIL:
                self._write(key, ended)
            elif not with_lock(self._lock, lambda: self._write_failed(key, ended)):
                return False
        except UpdateFinishedTrialError:
            return False
        self._ended_here.add(key)
        self._keep(trial)  # with full curves; the stored ones are thinned
        return True

    def _keep(self, trial: Trial) -> None:
        """Add a trial or its new outcome; the trials stay in the order of their index."""
        last = trial.index in self.trials or trial.index > next(reversed(self.trials), -1)
        self.trials[trial.index] = trial
        if not last:
            self.trials = dict(sorted(self.trials.items()))
        self._excused[trial.index] = self.lost[trial.index]
        (self.failed.add if trial.state == "failed" else self.failed.discard)(trial.index)

    def release(self) -> None:
        """Release the running trials of this process, without counting them as lost."""
        try:
            for index in list(self._mine):
                self._fail(self._mine.pop(index))
        except BROKEN as error:
            log.warning("cannot release running trials; the next search will do it: %s", error)

    def reap(self) -> None:
        """Release the trials of processes that have died, so that they are run again."""
        if time.monotonic() >= self._due and self._orphans():
            with_lock(self._lock, self._reap)

    def _reap(self) -> None:
        self.refresh()
        for attempt in self._orphans():
            key = self._keys[attempt.index]
            with contextlib.suppress(UpdateFinishedTrialError):  # already ended by another process
                left = self._storage.get_trial(key).user_attrs.get(ENDED)
                if left is not None:  # the process died between its last two writes
                    with reading(self._location):
                        ended = EndedTrial.read(left)
                    self._storage.set_trial_state_values(key, *ended.final)
                else:
                    self._storage.set_trial_user_attr(key, LOST, True)
                    self._fail(key)
        self.refresh()

    def _orphans(self) -> list[Attempt]:
        others = [a for a in self.running.values() if a.worker != self._worker]
        if not others or self._heartbeat is None:
            return []
        living = self._heartbeat.alive()
        self._due = time.monotonic() + max(LOOK_SECONDS, len(living) * SECONDS_A_WORKER)
        return [attempt for attempt in others if attempt.worker not in living]

    def _write(self, key: int, ended: EndedTrial) -> None:
        self._storage.set_trial_user_attr(key, ENDED, encode(ended))
        self._storage.set_trial_state_values(key, *ended.final)

    def _write_failed(self, key: int, ended: EndedTrial) -> bool:
        """Store a failed trial unless it was marked as lost; return whether it counts.

        A lost attempt is stored as failed, too, so the two must not be confused.
        """
        known = self._storage.get_trial(key)
        if LOST in known.user_attrs:
            return False
        if not known.state.is_finished() or ENDED not in known.user_attrs:  # else it was stored
            self._write(key, ended)
        return True

    def _fail(self, key: int) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):  # already ended by another process
            self._storage.set_trial_state_values(key, TrialState.FAIL)
