"""Journal files: Optuna's append-only log of JSON lines, made safe against crashes.

Optuna's own is not: a last line torn by a crash makes a study unreadable for ever, and a lock
whose holder was killed blocks everyone else for half a minute. Here the torn line is cut off
before the next is written, and locks are the kernel's, which die with their holder.
"""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage

from lrsearch.errors import RequestError

__all__ = ["check_journal", "cut_torn_line", "open_journal"]


class _KernelLock:
    """Optuna's lock interface on flock: free as soon as its holder is gone, however it went."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        self._file = os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o666)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def open_journal(path: Path) -> JournalStorage:
    """Opens a journal, creating it where there is none.

    Raises:
        RequestError: it cannot be opened or read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            lock: Any = _KernelLock(path)
            return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except OSError as error:
        raise RequestError(
            f"cannot open {path}: {error.strerror}; choose another --storage"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{path} is no journal of studies ({error}); choose another --storage"
        ) from error


def check_journal(path: Path) -> None:
    """Refuses a file that is none of ours before anything is written to it."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            first = file.readline()
    except OSError as error:
        raise RequestError(
            f"cannot read {path}: {error.strerror}; choose another --storage"
        ) from error
    begin = b'{"op_code"'
    if not begin.startswith(first[: len(begin)]):
        raise RequestError(f"{path} is no journal of studies; choose another --storage")


def cut_torn_line(path: Path) -> None:
    """Removes a last line that a crash tore."""
    if not path.is_file():
        return
    try:
        with path.open("rb+") as file:
            content = file.read()
            end = content.rfind(b"\n") + 1
            begin = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
            if not _is_json(content[begin:end]):
                end = begin
            if end < len(content):
                file.truncate(end)
    except OSError as error:
        raise RequestError(
            f"cannot write {path}: {error.strerror}; choose another --storage"
        ) from error


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
