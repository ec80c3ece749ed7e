"""Where studies stand: how their trials ended, what is under way, who is at work."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lrsearch.errors import LrsearchError
from lrsearch.result import STATES
from lrsearch.study.heartbeat import LEASE, Worker, is_here, workers_of
from lrsearch.study.location import Location
from lrsearch.study.store import Store
from lrsearch.study.trial_records import reading


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Where a study stands.

    Attributes:
        study, objective, unit, storage: names, and where it lives.
        trials: how many ended how, by `lrsearch.result.STATES`.
        running: the indices of the trials that a worker which lives is at.
        orphans: the indices of those whose worker has died; the next search begins them again.
        lost: how many attempts at trials were lost with their process.
        workers: those that live.
        best: the lowest value, or None.
        compared: whether its best schedule was held against baselines.
        changed: when it was last written.
        trouble: why it cannot be read; nothing else is known then.
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
        """The object that `--json` prints."""
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
    """The studies in a journal; one that cannot be read is called as its file."""
    try:
        return Store.names(location) or [location.study]
    except (LrsearchError, OSError):
        return [location.study]


def status_of(location: Location) -> StudyStatus:
    """Where a study stands; one that is damaged says so."""
    try:
        with Store.read(location) as store:
            return status_in(store)
    except (LrsearchError, OSError) as error:
        return StudyStatus(study=location.study, storage=str(location), trouble=str(error))


def status_in(store: Store) -> StudyStatus:
    """Where a study stands that can be read.

    Raises:
        RequestError: a record is none of lrsearch's.
    """
    location, result, written = store.location, store.result(), _written(store)
    with reading(location):
        attributes = store.storage.get_study_user_attrs(store.key)
        workers = workers_of(attributes, store.clock.clock())
    if location.path is not None:  # one on another machine would have written its beat here
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
    """When a study was last written, in seconds since 1970.

    Of a database that is what its trials say, each by the clock of the machine that was at it.
    """
    if store.location.path is not None:
        return store.location.path.stat().st_mtime
    trials = store.storage.get_all_trials(store.key, deepcopy=False)
    dates = [t.datetime_complete or t.datetime_start for t in trials]
    return max((d.timestamp() for d in dates if d is not None), default=time.time())
