"""The lock of a study, which serialises changes to trial ownership.

The lock of a journal is a kernel lock on a file, released as soon as its holder is gone, for
whatever reason. The lock of a database is the database's own (`lrsearch.study.database`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from lrsearch.errors import LrsearchError, SearchFailed

T = TypeVar("T")

#: Seconds between two attempts to take a lock, and seconds after which a live holder counts as
#: stuck: work under the lock takes milliseconds.
PAUSE, PATIENCE = 0.002, 30.0
#: Seconds for which work that lost its lock is repeated, and the longest pause between attempts.
RETRY, LONGEST_PAUSE = 300.0, 5.0


class LockLost(LrsearchError):
    """A lock was lost while it was held. Nothing has been written since."""


def with_lock(lock: AbstractContextManager[None], work: Callable[[], T]) -> T:
    """Return the result of `work`, called under the lock and repeated if the lock is lost.

    Args:
        lock: lock of the study.
        work: function to call. If it is repeated, it must detect what it has already written.

    Raises:
        SearchFailed: the lock is lost repeatedly.
    """
    began, pause = time.monotonic(), PAUSE
    while True:
        try:
            with lock:
                return work()
        except LockLost as error:
            if time.monotonic() - began > RETRY:
                raise SearchFailed(
                    f"the study's lock was lost repeatedly for {RETRY:g} s ({error}); check the "
                    "database and run the same command again to continue"
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def lock(file: int, path: Path) -> None:
    """Lock an open file; `unlock` releases it.

    Raises:
        SearchFailed: another process has held the lock for too long.
    """
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - began > PATIENCE:
                raise SearchFailed(
                    f"another process has held {path} for {PATIENCE:g} s; find that process with "
                    f"`fuser {path}` and end it"
                ) from None
            time.sleep(PAUSE)
        else:
            return


def unlock(file: int) -> None:
    """Unlock a file and close it.

    Closing alone is not enough: a child forked meanwhile has the file open, too.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


class FileLock:
    """A lock on a file beside a journal.

    Args:
        path: path of the lock file, which is created if it does not exist. A symbolic link is not
            followed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # user code may change the working folder
        self._held: list[int] = []  # at most one open file, held by any thread

    def __enter__(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            lock(file, self._path)
        except BaseException:
            os.close(file)
            raise
        self._held.append(file)

    def __exit__(self, *exception: object) -> None:
        unlock(self._held.pop())
