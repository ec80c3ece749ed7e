"""Of all processes that search a study, one tells the tracker: two would write everything twice.

It tells what the others end as well. When it leaves, another takes over, whose tracker begins with
what its page lacks.
"""

from __future__ import annotations

from collections.abc import Iterable

from lrsearch.errors import log
from lrsearch.result import Result, Trial
from lrsearch.study.heartbeat import BROKEN, Heartbeat
from lrsearch.study.store import Store
from lrsearch.tracking.tracker import Tracker, study_facts


class Leader:
    """Whether this process leads, and the tracker if it does.

    Args:
        store: the study.
        heartbeat: this process as a worker.
        tracker: where people look.
        trials: how many are asked for.

    Attributes:
        mine: whether it leads.
    """

    def __init__(self, store: Store, heartbeat: Heartbeat, tracker: Tracker, trials: int) -> None:
        self._store, self._heartbeat, self._tracker = store, heartbeat, tracker
        self._asked = trials
        self.mine = False

    def follow(self, trials: Iterable[Trial]) -> None:
        """Takes the lead where nobody has it, and tells the tracker of the trials so far."""
        if not self.mine and self._heartbeat.lead():
            self.mine = True
            self._tracker.start(study_facts(self._store, self._asked), tuple(trials))
            self._store.set_tracking(self._tracker.uri, self._store.tracking[1])

    def trial_ended(self, trial: Trial) -> None:
        """Tells the tracker of one more trial."""
        if self.mine:
            self._tracker.trial_ended(trial)

    def finish(self, result: Result, state: str) -> None:
        """Closes the tracker; that of a leader that died without doing so, too."""
        try:
            if not self.mine and self._heartbeat.abandoned:
                self.follow(result.trials)
            if self.mine:
                self._tracker.finish(result, state)
                self._store.set_tracking(self._tracker.uri, self._tracker.run_id)
                if state == "finished":  # what the tracker missed it has said, and `sync` writes
                    self._store.set_told(result)
        except BROKEN as error:
            if state == "finished":
                raise
            log.warning("cannot write how the search ended: %s", error)
