"""The leader: the one process of a study that writes to the tracker.

Two processes would write everything twice. The leader also writes the trials of other processes.
When it exits, another process becomes the leader, and its tracker first writes what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable

from lrsearch.errors import log
from lrsearch.outcome import Trial
from lrsearch.result import Result
from lrsearch.study.heartbeat import BROKEN, Heartbeat
from lrsearch.study.store import Store
from lrsearch.tracking.tracker import Tracker, study_facts


class Leader:
    """The access of this process to the tracker, which only the leader uses.

    Args:
        store: the study.
        heartbeat: registration of this process as a worker.
        tracker: the tracker.
        trials: requested number of trials.

    Attributes:
        mine: True if this process is the leader.
    """

    def __init__(self, store: Store, heartbeat: Heartbeat, tracker: Tracker, trials: int) -> None:
        self._store, self._heartbeat, self._tracker = store, heartbeat, tracker
        self._asked = trials
        self.mine = False

    def follow(self, trials: Iterable[Trial]) -> None:
        """Become the leader if there is none, and start the tracker with the trials so far."""
        if not self.mine and self._heartbeat.lead():
            self.mine = True
            self._tracker.start(study_facts(self._store, self._asked), tuple(trials))
            self._store.set_tracking(self._tracker.uri, self._store.tracking[1])

    def trial_ended(self, trial: Trial) -> None:
        """Write an ended trial to the tracker."""
        if self.mine:
            self._tracker.trial_ended(trial)

    def finish(self, result: Result, state: str) -> None:
        """Close the tracker, also for a leader that died without closing it."""
        try:
            if not self.mine and self._heartbeat.abandoned:
                self.follow(result.trials)
            if self.mine:
                self._tracker.finish(result, state)
                self._store.set_tracking(self._tracker.uri, self._tracker.run_id)
                if state == "finished":
                    # The tracker has reported what it could not write; `lrsearch sync` writes it.
                    self._store.set_told(result)
        except BROKEN as error:
            if state == "finished":
                raise
            log.warning("cannot save the end of the search: %s", error)
