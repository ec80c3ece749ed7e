"""The status of studies: how trials ended, which are running, and which workers are alive."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lrsearch.errors import LrsearchError
from lrsearch.outcome import STATES
from lrsearch.study.heartbeat import LEASE, Worker, is_here, workers_of
from lrsearch.study.location import Location
from lrsearch.study.store import Store
from lrsearch.study.trial_records import reading


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """The status of a study.

    Attributes:
        study: name of the study.
        objective: name of the objective.
        unit: unit of the values.
        storage: the journal or the database, without a password.
        trials: number of trials in each state of `lrsearch.outcome.STATES`.
        running: indices of the trials that a live worker runs.
        orphans: indices of the trials whose worker has died; the next search runs them again.
        lost: number of attempts that were lost with their process.
        workers: the workers that are alive.
        best: lowest value of a trial, or None.
        compared: True if the best schedule was compared with baselines.
        changed: time at which the study was last written.
        trouble: why the study cannot be read; if it is not empty, only `study` and `storage` are
            known.
    """

    study: str
    objective: str = ""
    unit: str = ""
    storage: str
    trials: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    running: tuple[int, ...] = ()
    orphans: tuple[int, ...] = ()
    lost: int = 0
    workers: tuple[Worker, ...] = ()
    best: float | None = None
    compared: bool = False
    changed: datetime | None = None
    trouble: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        shown = [{"host": w.host.split()[0], "pid": w.pid, "since": w.since} for w in self.workers]
        return {
            "study": self.study,
            "objective": self.objective,
            "unit": self.unit,
            "storage": self.storage,
            "trials": self.trials,
            "running": list(self.running),
            "orphans": list(self.orphans),
            "lost": self.lost,
            "workers": shown,
            "best": self.best,
            "compared": self.compared,
            "changed": None
            if self.changed is None
            else self.changed.isoformat(timespec="seconds"),
            "trouble": self.trouble,
        }


def study_names_in(location: Location) -> list[str]:
    """Return the names of the studies in a storage, or the location's own if it is unreadable."""
    try:
        return Store.names(location) or [location.study]
    except (LrsearchError, OSError):
        return [location.study]


def status_of(location: Location) -> StudyStatus:
    """Return the status of a study; if it cannot be read, `trouble` has the error."""
    try:
        with Store.read(location) as store:
            return status_in(store)
    except (LrsearchError, OSError) as error:
        return StudyStatus(study=location.study, storage=str(location), trouble=str(error))


def status_in(store: Store) -> StudyStatus:
    """Return the status of an open study.

    Raises:
        RequestError: a record was not written by lrsearch.
    """
    location, result, written = store.location, store.result(), _written(store)
    with reading(location):
        attributes = store.storage.get_study_user_attrs(store.key)
        workers = workers_of(attributes, store.clock.clock())
    if location.path is not None:  # a live worker elsewhere writes its heartbeat to the file
        workers = [w for w in workers if is_here(w) or time.time() - written < LEASE]
    living = {worker.id for worker in workers}
    running = store.table.running.values()
    return StudyStatus(
        study=location.study,
        objective=result.objective,
        unit=result.unit,
        storage=str(location),
        trials=result.counts,
        running=tuple(sorted(a.index for a in running if a.worker in living)),
        orphans=tuple(sorted(a.index for a in running if a.worker not in living)),
        lost=store.table.lost.total(),
        workers=tuple(workers),
        best=result.ranked[0].value if result.ranked else None,
        compared=result.comparison is not None,
        changed=datetime.fromtimestamp(written, UTC),
    )


def _written(store: Store) -> float:
    """Return when a study was last written, in seconds since 1970.

    For a database it is the latest start or end of a trial, on the clock of the machine that ran
    the trial.
    """
    if store.location.path is not None:
        return store.location.path.stat().st_mtime
    trials = store.storage.get_all_trials(store.key, deepcopy=False)
    dates = [t.datetime_complete or t.datetime_start for t in trials]
    return max((d.timestamp() for d in dates if d is not None), default=time.time())
