"""Who searches a study now, and whether they still live.

A worker is a process that searches. On its own machine it is known by pid and start time, so that
a dead one is found out at once and a pid that was given away again deceives nobody. Everywhere it
is known by its beat, a number that it raises in the storage: when that has stood still for a
lease, by the clock of whoever looks, the worker is taken for dead. No two clocks are ever
compared, and none that can be set back is read.
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
from types import TracebackType
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from lrsearch.codec import Line, decode, encode
from lrsearch.errors import LrsearchError, log
from lrsearch.study.backend import Backend
from lrsearch.study.clock import Clock
from lrsearch.study.keys import LEADER, WORKER
from lrsearch.study.locks import with_lock

#: Seconds between beats, and without one after which a worker counts as dead wherever it is.
#: A convention: the lease outlasts a minute without a connection.
BEAT, LEASE = 20.0, 150.0

#: What a storage raises that cannot be reached or written.
BROKEN = (LrsearchError, OSError, SQLAlchemyError, optuna.exceptions.OptunaError)

#: Workers of this process that are at work.
_active: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that searches a study.

    Attributes:
        id: its own.
        host: the machine's name, and what tells it from others of that name.
        pid, started: of the process; the start in a form that only its machine compares.
        since: when it joined, for people.
        beat: raised while it lives.
        clock: of its last beat, by the storage's own clock where it has one.
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
        """This process, as a new worker."""
        return cls(
            id=uuid.uuid4().hex[:12],
            host=_host(),
            pid=os.getpid(),
            started=_started(os.getpid()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )


class Liveness:
    """Which workers live, as far as can be seen from here.

    Args:
        clock: of the storage, if it has one; nobody's lease runs while it does not answer.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = Clock() if clock is None else clock
        self._seen: dict[str, tuple[int, float]] = {}

    def alive(self, worker: Worker) -> bool:
        """Whether a worker lives: not if its process is gone, nor after a lease without a beat."""
        if is_here(worker):
            if worker.pid == os.getpid() and worker.id not in _active:
                return False
            if not worker.started or _started(worker.pid) != worker.started:
                return False
        beat, since = self._seen.get(worker.id, (-1, 0.0))
        now = time.monotonic() - self._clock.silent
        if worker.beat != beat:
            self._seen[worker.id] = (worker.beat, now)
            return True
        return now - since < LEASE


class Heartbeat:
    """This process as a worker of a study, from its entry to its exit.

    Args:
        storage: of the study.
        study: its id there.
        lock: while it is held no other process changes who does what.
        clock: the storage's own.

    Attributes:
        worker: this process.
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
        """Takes a place in the list that nobody has who lives; under the guard."""
        attending = _attending(self._storage.get_study_user_attrs(self._study))
        others = self.alive() - {self.worker.id}
        taken = {key for key, worker in attending.items() if worker.id in others}
        keys = (f"{WORKER}{i}" for i in range(len(taken) + 1))
        self._key = next(key for key in keys if key not in taken)
        self._attend()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _active.discard(self.worker.id)
        self._over.set()
        self._thread.join()
        with contextlib.suppress(*BROKEN), self._study_lock:  # else it will be found to be dead
            if self._leader() == self.worker.id:
                self._storage.set_study_user_attr(self._study, LEADER, None)
            if self._is_listed:
                self._write(None)

    def alive(self) -> set[str]:
        """The ids of the workers that live."""
        listed = _attending(self._storage.get_study_user_attrs(self._study)).values()
        return {w.id for w in listed if w.id == self.worker.id or self._watch.alive(w)}

    def lead(self) -> bool:
        """Whether this worker is the one that tells the tracker, and compares.

        The first one leads; when it has left, whoever asks next.
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
        """Whether the leader died without a word."""
        return self._leader() not in {"", *self.alive()}

    def _leader(self) -> str:
        kept = self._storage.get_study_user_attrs(self._study).get(LEADER)
        leader: str | None = decode(Line | None, kept, LEADER)
        return leader or ""

    @property
    def _is_listed(self) -> bool:
        """Whether nobody has taken this worker for dead and its place in the list."""
        kept = self._storage.get_study_user_attrs(self._study).get(self._key)
        return kept is not None and bool(kept["id"] == self.worker.id)

    def _attend(self) -> None:
        """Says that it lives."""
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
                log.warning("cannot tell the study that this process lives: %s", error)


def workers_of(attributes: dict[str, Any], now: float | None = None) -> list[Worker]:
    """The workers that a study's attributes name and that live, as far as one look can tell.

    Args:
        attributes: of the study.
        now: by the storage's own clock. Without it those on other machines are taken to live.
    """
    watch = Liveness()
    return [
        worker
        for worker in _attending(attributes).values()
        if watch.alive(worker)
        and (now is None or worker.clock is None or now - worker.clock < LEASE)
    ]


def is_here(worker: Worker) -> bool:
    """Whether a worker is, or was, a process of this machine since its last start."""
    return worker.host == _host()


def _attending(attributes: dict[str, Any]) -> dict[str, Worker]:
    """The workers of a study by the key of their attribute."""
    found = {}
    for key, value in sorted(attributes.items()):
        if key.startswith(WORKER) and value:
            found[key] = decode(Worker, value, key)
    return found


@functools.cache
def _host() -> str:
    """This machine, since its last start, and this container's processes."""
    parts = [platform.node()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(
                source.readlink().name if source.is_symlink() else source.read_text().strip()
            )
        except OSError:  # macOS has neither
            parts.append("")
    return " ".join(parts).strip()


def _started(pid: int) -> str:
    """When a process was started, in a form of its machine's own; empty if it is gone."""
    if pid <= 0:
        return ""
    stat = Path("/proc") / str(pid) / "stat"
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # ticks since the machine was started
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
