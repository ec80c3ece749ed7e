"""Where studies stand: how their trials ended, what is under way, who is at work."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lrsearch.engine.ledger import reading
from lrsearch.engine.liveness import LEASE, Worker, is_here, workers_of
from lrsearch.engine.storage import Store
from lrsearch.errors import LrsearchError
from lrsearch.result import STATES

__all__ = ["Standing", "names_in", "standing_of"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a study stands.

    Attributes:
        study, objective, unit, storage: names, and where it lives.
        trials: how many ended how, by `lrsearch.result.STATES`.
        running: the indices of the trials that a worker which lives is at.
        orphans: the indices of those whose worker has died; the next search begins them again.
        lost: how many attempts at trials were lost with their process.
        workers: those that live.
        best: the lowest value, or None.
        confirmed: whether its best schedule was held against baselines.
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
    confirmed: bool = False
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
            "confirmed": self.confirmed,
            "changed": None
            if self.changed is None
            else self.changed.isoformat(timespec="seconds"),
            "trouble": self.trouble,
        }


def names_in(path: Path) -> list[str]:
    """The studies in a journal; one that cannot be read is called as its file."""
    try:
        return Store.names(path) or [path.stem]
    except (LrsearchError, OSError):
        return [path.stem]


def standing_of(study: str, path: Path) -> Standing:
    """Where a study stands; one that is damaged says so."""
    try:
        store = Store.read(study, path)
        result = store.result()
        written = path.stat().st_mtime
        with reading(path):
            listed = workers_of(store.storage.get_study_user_attrs(store.key))
        # One on another machine would have written its beat here.
        workers = [w for w in listed if is_here(w) or time.time() - written < LEASE]
        living = {worker.id for worker in workers}
        attempts = store.ledger.attempts.values()
        return Standing(
            study=study,
            objective=result.objective,
            unit=result.unit,
            storage=str(path),
            trials=result.counts,
            running=tuple(sorted(a.index for a in attempts if a.worker in living)),
            orphans=tuple(sorted(a.index for a in attempts if a.worker not in living)),
            lost=store.ledger.lost.total(),
            workers=tuple(workers),
            best=result.ranked[0].value if result.ranked else None,
            confirmed=result.confirmed is not None,
            changed=datetime.fromtimestamp(written, UTC),
        )
    except (LrsearchError, OSError) as error:
        return Standing(study=study, storage=str(path), trouble=str(error))
