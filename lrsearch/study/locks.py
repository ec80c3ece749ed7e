"""While one process holds a study's guard, no other changes who does what.

Beside a journal, locks are the kernel's: free as soon as their holder is gone, however it went.
Those of a database are its own (`lrsearch.study.database`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from lrsearch.errors import LrsearchError, SearchFailed

T = TypeVar("T")

#: Seconds between two tries, and after which a holder that lives is taken to be stuck: what is
#: done under a lock takes milliseconds.
PAUSE, PATIENCE = 0.002, 30.0
#: Seconds for which what lost its guard is done anew, and the most between two tries.
RETRY, LONGEST_PAUSE = 300.0, 5.0


class LockLost(LrsearchError):
    """A guard was lost while it was held, and nothing has been written since."""


def with_lock(lock: AbstractContextManager[None], work: Callable[[], T]) -> T:
    """Does what only one process at a time may do; anew, where the guard was lost meanwhile.

    Args:
        lock: of the study.
        work: what is to be done; what it has done already it must find, and not do twice.

    Raises:
        SearchFailed: it is lost again and again.
    """
    began, pause = time.monotonic(), PAUSE
    while True:
        try:
            with lock:
                return work()
        except LockLost as error:
            if time.monotonic() - began > RETRY:
                raise SearchFailed(
                    f"a lock was lost again and again for {RETRY:g} s ({error}); the same command "
                    "goes on when that is mended"
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def lock(file: int, path: Path) -> None:
    """Locks an open file, which `unlock` frees.

    Raises:
        SearchFailed: another process holds it and does not go on.
    """
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - began > PATIENCE:
                raise SearchFailed(
                    f"another process has held {path} for {PATIENCE:g} s; find out with "
                    f"`fuser {path}` which one is stopped, and end it"
                ) from None
            time.sleep(PAUSE)
        else:
            return


def unlock(file: int) -> None:
    """Frees a locked file and closes it: a child that was forked meanwhile has it open, too."""
    fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)


class FileLock:
    """A lock on a file beside a journal.

    Args:
        path: of the file, which is made where there is none, and never through a link.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # user code may change the folder that a process is in
        self._held: list[int] = []  # at most one, whichever thread's it is

    def __enter__(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            lock(file, self._path)
        except BaseException:
            os.close(file)
            raise
        self._held.append(file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        unlock(self._held.pop())
