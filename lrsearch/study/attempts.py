"""The attempts of this process at trials of a study that it may share with others."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from lrsearch.distributions import distributions
from lrsearch.ranges import Value
from lrsearch.result import Trial
from lrsearch.study.heartbeat import BROKEN, Heartbeat
from lrsearch.study.locks import with_lock
from lrsearch.study.store import Store
from lrsearch.study.trials import (
    ATTEMPT,
    ENDED,
    LOST,
    RunningTrial,
    final_state,
    read_trial,
    reading,
)

__all__ = ["Attempts"]

#: Seconds between two looks at who lives, and for each who does: a thousand that looked at each
#: other every second would keep a database busy with nothing else.
LOOK, EACH = 0.5, 0.05

log = logging.getLogger("lrsearch")


class Attempts:
    """Begins, ends and gives back trials, each of which one process at a time is at.

    Args:
        store: the study.
        heartbeat: this process as a worker.
    """

    def __init__(self, store: Store, heartbeat: Heartbeat) -> None:
        self._storage, self._study = store.storage, store.key
        self._table, self._study_lock, self._location = store.table, store.lock, store.location
        self._heartbeat, self._identity = heartbeat, store.identity
        self._distributions = distributions(store.record.space)
        self._mine: dict[int, int] = {}
        self._due = -math.inf  # when to look again who lives, by the monotonic clock

    def begin(self, index: int, point: Mapping[str, Value]) -> bool:
        """Takes a trial, unless it has ended or another is at it by now.

        Args:
            index: of the trial.
            point: its values of the free fields; empty for a schedule outside the space.
        """
        own = {"index": index, "worker": self._heartbeat.worker.id}

        def take() -> bool:
            self._table.refresh()
            known = self._table.running.get(index)
            if known is not None and known.worker == own["worker"]:
                self._mine[index] = known.key  # begun here, under a guard that was lost
                return True
            if known is not None or index in self._table.trials:
                return False
            attempt = create_trial(
                state=TrialState.RUNNING,
                params=dict(point),
                distributions={n: d for n, d in self._distributions.items() if n in point},
                user_attrs={
                    ATTEMPT: {**own, "retry": self._table.lost[index], "point": dict(point)}
                },
            )
            self._mine[index] = self._storage.create_new_trial(self._study, attempt)
            return True

        return with_lock(self._study_lock, take)

    def end(self, trial: Trial, penalty: float | None) -> bool:
        """Writes a trial that has ended; whether it counts.

        It does not where this process was taken for dead meanwhile, and another was at it.

        Args:
            trial: the trial.
            penalty: the finite value that stands for a diverged trial, or None.
        """
        key = self._mine.pop(trial.index)
        kept = {
            "study": self._identity,
            "index": trial.index,
            "state": trial.state,
            "schedule": trial.schedule.to_dict(defaults=False),
            "outcomes": [outcome.to_dict() for outcome in trial.outcomes],
            "told": penalty if trial.state == "diverged" else trial.value,
        }
        try:
            if final_state(kept)[0] != TrialState.FAIL:
                self._write(key, kept)
            elif not with_lock(self._study_lock, lambda: self._write_failed(key, kept)):
                return False
        except UpdateFinishedTrialError:
            return False
        self._table.trials[trial.index] = trial  # whose curves are not thinned
        return True

    def release(self) -> None:
        """Gives back what was begun here and has not ended; it is no fault of these trials."""
        try:
            for index in list(self._mine):
                self._fail(self._mine.pop(index))
        except BROKEN as error:
            log.warning("cannot give trials back, which whoever comes next will: %s", error)

    def reap(self) -> None:
        """Gives back what was begun by processes that have died since."""
        if time.monotonic() >= self._due and self._orphans():
            with_lock(self._study_lock, self._reap)

    def _reap(self) -> None:
        self._table.refresh()
        for attempt in self._orphans():
            with contextlib.suppress(UpdateFinishedTrialError):  # somebody else was faster
                left = self._storage.get_trial(attempt.key).user_attrs.get(ENDED)
                if left is not None:  # it died between its two last records
                    with reading(self._location):
                        read_trial(left)
                    self._close(attempt.key, left)
                else:
                    self._storage.set_trial_user_attr(attempt.key, LOST, True)
                    self._fail(attempt.key)
        self._table.refresh()

    def _orphans(self) -> list[RunningTrial]:
        running = self._table.running.values()
        others = [a for a in running if a.worker != self._heartbeat.worker.id]
        if not others:
            return []
        living = self._heartbeat.alive()
        self._due = time.monotonic() + max(LOOK, len(living) * EACH)
        return [attempt for attempt in others if attempt.worker not in living]

    def _write(self, key: int, kept: Mapping[str, Any]) -> None:
        self._storage.set_trial_user_attr(key, ENDED, kept)
        self._close(key, kept)

    def _write_failed(self, key: int, kept: Mapping[str, Any]) -> bool:
        """As above, of one that has failed; whether it had not been taken for lost meanwhile.

        A lost one is written as failed, too, so that the two must not mix.
        """
        known = self._storage.get_trial(key)
        if LOST in known.user_attrs:
            return False
        if not known.state.is_finished() or ENDED not in known.user_attrs:  # else it was written
            self._write(key, kept)
        return True

    def _close(self, key: int, kept: Mapping[str, Any]) -> None:
        """Writes the state that goes with what a trial has left."""
        state, value = final_state(kept)
        self._storage.set_trial_state_values(key, state, None if value is None else [value])

    def _fail(self, key: int) -> None:
        try:
            self._storage.set_trial_state_values(key, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return  # somebody else was faster
