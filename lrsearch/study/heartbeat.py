"""Workers: the processes that search a study, and which of them are alive.

On its own machine a worker is identified by pid and start time. A dead worker is therefore
detected at once, and a reused pid is not mistaken for the worker. On every machine a worker is
checked by its heartbeat, a number in the storage that it increases. A worker is taken for dead
when its heartbeat has not changed for a lease, measured on the monotonic clock of the process that
checks. Clocks of different machines are never compared.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
import threading
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from lrsearch.codec import Line, decode, encode
from lrsearch.errors import LrsearchError, log
from lrsearch.study.backend import Backend
from lrsearch.study.clock import Clock
from lrsearch.study.keys import LEADER, WORKER
from lrsearch.study.locks import with_lock

#: Seconds between heartbeats, and seconds without one after which a worker counts as dead on every
#: machine. A convention: the lease outlasts a minute without a connection.
BEAT, LEASE = 20.0, 150.0

#: Errors of a storage that cannot be reached or written.
#: KeyError is a study that was deleted.
BROKEN = (LrsearchError, OSError, KeyError, SQLAlchemyError, optuna.exceptions.OptunaError)

#: Ids of the workers of this process that have joined a study.
_active: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that searches a study.

    Attributes:
        id: unique id of the worker.
        host: name of the machine, with its boot and container to distinguish equal names.
        pid: id of the process.
        started: start time of the process, in a form that only its own machine can compare.
        since: date and time at which the worker joined, for display.
        beat: number of heartbeats so far.
        clock: time of the last heartbeat on the storage's clock; None if the storage has none.
    """

    id: Line
    host: Line
    pid: int
    started: Line
    since: Line
    beat: int = 0
    clock: float | None = None

    @classmethod
    def here(cls) -> Worker:
        """Return a new worker for this process."""
        return cls(
            id=uuid.uuid4().hex[:12],
            host=_host(),
            pid=os.getpid(),
            started=_started(os.getpid()) or "",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )


class Liveness:
    """A check of which workers are alive, as seen from this process.

    Args:
        clock: the storage's clock. Time for which the storage did not answer does not count
            towards a lease. None is a storage that always answers.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = Clock() if clock is None else clock
        self._seen: dict[str, tuple[int, float]] = {}

    def alive(self, worker: Worker) -> bool:
        """Return whether a worker is alive.

        A worker is dead if it is on this machine and its process is gone, or if a lease has passed
        since its last heartbeat.
        """
        if is_here(worker):
            if worker.pid == os.getpid() and worker.id not in _active:
                return False
            if not _runs(worker):
                return False
        beat, since = self._seen.get(worker.id, (-1, 0.0))
        now = time.monotonic() - self._clock.silent
        if worker.beat != beat:
            self._seen[worker.id] = (worker.beat, now)
            return True
        return now - since < LEASE


class Heartbeat:
    """A context in which this process is a worker of a study and sends heartbeats.

    Args:
        storage: storage of the study.
        study: id of the study in the storage.
        lock: lock of the study, which serialises changes to trial ownership.
        clock: the storage's clock.

    Attributes:
        worker: the worker of this process.
    """

    def __init__(
        self, storage: Backend, study: int, lock: AbstractContextManager[None], clock: Clock
    ) -> None:
        self.worker = Worker.here()
        self._storage, self._study, self._study_lock = storage, study, lock
        self._clock, self._watch = clock, Liveness(clock)
        self._key = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        _active.add(self.worker.id)
        try:
            with_lock(self._study_lock, self._enlist)
        except BaseException:
            _active.discard(self.worker.id)
            raise
        self._thread.start()
        return self

    def _enlist(self) -> None:
        """Register this worker under a key that no live worker has. Call it under the lock."""
        attending = _attending(self._storage.get_study_user_attrs(self._study))
        others = self.alive() - {self.worker.id}
        taken = {key for key, worker in attending.items() if worker.id in others}
        keys = (f"{WORKER}{i}" for i in range(len(taken) + 1))
        self._key = next(key for key in keys if key not in taken)
        self._attend()

    def __exit__(self, *exception: object) -> None:
        _active.discard(self.worker.id)
        self._over.set()
        self._thread.join()
        with contextlib.suppress(*BROKEN), self._study_lock:  # after an error, the lease runs out
            if self._leader() == self.worker.id:
                self._storage.set_study_user_attr(self._study, LEADER, None)
            if self._is_listed:
                self._write(None)

    def alive(self) -> set[str]:
        """Return the ids of the workers that are alive."""
        listed = _attending(self._storage.get_study_user_attrs(self._study)).values()
        return {w.id for w in listed if w.id == self.worker.id or self._watch.alive(w)}

    def lead(self) -> bool:
        """Return whether this worker leads: it reports to the tracker and runs the comparison.

        The first worker leads. After it has left or died, the next worker that calls this leads.
        """
        if self._leader() == self.worker.id:
            return True
        if self._leader() in self.alive():
            return False

        def take() -> bool:
            if self._leader() not in self.alive():
                self._storage.set_study_user_attr(self._study, LEADER, self.worker.id)
            return self._leader() == self.worker.id

        return with_lock(self._study_lock, take)

    @property
    def abandoned(self) -> bool:
        """True if the leader died before it could leave the study."""
        return self._leader() not in {"", *self.alive()}

    def _leader(self) -> str:
        kept = self._storage.get_study_user_attrs(self._study).get(LEADER)
        leader: str | None = decode(Line | None, kept, LEADER)
        return leader or ""

    @property
    def _is_listed(self) -> bool:
        """True if this worker is still registered, and no other worker has taken its key."""
        kept = self._storage.get_study_user_attrs(self._study).get(self._key)
        return kept is not None and bool(kept["id"] == self.worker.id)

    def _attend(self) -> None:
        """Store this worker with its latest heartbeat."""
        self.worker = replace(self.worker, clock=self._clock.clock())
        self._write(encode(self.worker))

    def _write(self, value: dict[str, Any] | None) -> None:
        self._storage.set_study_user_attr(self._study, self._key, value)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self.worker = replace(self.worker, beat=self.worker.beat + 1)
            try:
                if self._is_listed:
                    self._attend()
                else:
                    with_lock(self._study_lock, self._enlist)
            except BROKEN as error:
                log.warning("cannot store the heartbeat of this process: %s", error)


def workers_of(attributes: dict[str, Any], now: float | None = None) -> list[Worker]:
    """Return the workers of a study that are alive, judged from one reading of its attributes.

    Args:
        attributes: user attributes of the study.
        now: time on the storage's clock. If it is None, workers on other machines count as alive.
    """
    watch = Liveness()
    return [
        worker
        for worker in _attending(attributes).values()
        if watch.alive(worker)
        and (now is None or worker.clock is None or now - worker.clock < LEASE)
    ]


def is_here(worker: Worker) -> bool:
    """Return whether a worker is or was a process of this machine since its last boot."""
    return worker.host == _host()


def _attending(attributes: dict[str, Any]) -> dict[str, Worker]:
    """Return the registered workers of a study by the key of their attribute."""
    found = {}
    for key, value in sorted(attributes.items()):
        if key.startswith(WORKER) and value:
            found[key] = decode(Worker, value, key)
    return found


@functools.cache
def _host() -> str:
    """Return an identifier of this machine, its last boot and this container."""
    parts = [platform.node()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(
                source.readlink().name if source.is_symlink() else source.read_text().strip()
            )
        except OSError:  # macOS has neither
            parts.append("")
    return " ".join(parts).strip()


def _runs(worker: Worker) -> bool:
    """Return whether the process of a worker on this machine may be running."""
    started = _started(worker.pid)
    return started is None or (bool(started) and started == (worker.started or started))


def _exists(pid: int) -> bool:
    """Return whether there is a process with this id, perhaps of another user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _started(pid: int) -> str | None:
    """Return the start time of a process, which only its machine can compare.

    Returns:
        the time; empty if the process is gone; None if this process may not read it, as for other
        users' processes if `/proc` is mounted with `hidepid`.
    """
    if pid <= 0:
        return ""
    stat = Path("/proc") / str(pid) / "stat"
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None if _exists(pid) else ""
        return "" if fields[0] in "ZX" else fields[19]  # clock ticks since boot
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
