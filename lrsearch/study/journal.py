"""Journal files: Optuna's append-only log of JSON lines, made safe against crashes and damage.

Optuna's own is not: a last line torn by a crash makes a study unreadable for ever, a lock whose
holder was killed blocks everyone else for half a minute, and a flipped bit in a digit is another
number. Here every line ends with a checksum of itself and with that of the line before it, so
that nothing that was changed, lost or moved passes for a record; a torn end is cut off before the
next line is written; and locks are the kernel's, which die with their holder. Optuna itself reads
such a file as it stands.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend, JournalStorage

from lrsearch.errors import RequestError, SearchFailed, log
from lrsearch.study.location import FOLDER
from lrsearch.study.locks import lock, unlock
from lrsearch.study.trial_records import STRANGE

#: Ends every line: the sum of the line before it, and that of all that stands before it here.
SUMS = re.compile(rb',"after":"([0-9a-f]{8})","crc":"([0-9a-f]{8})"}\n')
ENDING, OWN = len(b',"after":"01234567","crc":"01234567"}\n'), len(b',"crc":"01234567"}\n')
#: Lines that a torn end may look like: a flipped bit may have made two of one.
TORN = 2
#: What the first line comes after.
NOTHING = b"00000000"

optuna.logging.set_verbosity(optuna.logging.WARNING)


class JournalLine:
    """One line of a journal, as it stands in the file.

    Attributes:
        after: the sum of the line before it.
        sum: its own.
        sound: whether it is what was written.
    """

    def __init__(self, raw: bytes) -> None:
        found = SUMS.fullmatch(raw[-ENDING:])
        self.after, self.sum = found.groups() if found else (b"", b"")
        self._body = raw[:-OWN]
        self.sound = found is not None and self.sum == b"%08x" % zlib.crc32(self._body)

    def record(self) -> dict[str, Any]:
        """What it says."""
        record: dict[str, Any] = json.loads(self._body + b"}")
        return record

    @staticmethod
    def write(record: dict[str, Any], after: bytes) -> tuple[bytes, bytes]:
        """The line of a record that comes after another, and its sum."""
        body = json.dumps(record, separators=(",", ":")).encode()
        body = body[:-1] + b',"after":"%s"' % after
        own = b"%08x" % zlib.crc32(body)
        return body + b',"crc":"%s"}\n' % own, own


def lines_of(content: bytes) -> list[bytes]:
    """The lines of a journal; the last has perhaps no end."""
    return io.BytesIO(content).readlines()


class Journal(BaseJournalBackend):
    """Optuna's interface to a journal: records in the order in which they were written.

    Args:
        path: of the file, which is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.absolute()  # user code may change the folder that a process is in
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        self._inode = path.stat().st_ino
        self._end, self._last, self._lines = 0, NOTHING, 0
        self._fresh: deque[dict[str, Any]] = deque()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records that were not given yet; Optuna asks for each of them once, in order."""
        with self._open(os.O_RDONLY) as file:
            whole = self._read(file, settled=False)
        if not whole:  # somebody may be writing it just now: look again when nobody is
            with self._open(os.O_RDONLY, alone=True) as file:
                self._read(file)
        while self._fresh:
            yield self._fresh.popleft()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes records behind those that there are: all of them or none.

        Raises:
            SearchFailed: there is no room, or the file is gone.
            RequestError: the file is damaged.
        """
        with self._open(os.O_RDWR, alone=True) as file:
            if not self._read(file):
                log.warning("%s: its last record was torn by a crash, and is left out", self._path)
            text, last = b"", self._last
            for record in logs:
                line, last = JournalLine.write(record, last)
                text += line
            try:
                if os.fstat(file).st_size > self._end:
                    os.ftruncate(file, self._end)
                _write_all(file, text, self._end)
                os.fsync(file)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(file, self._end)
                raise SearchFailed(
                    f"cannot write {self._path}: {error.strerror}; what had ended is kept, and "
                    "the same command goes on when that is mended"
                ) from error
            self._read(file)

    @contextlib.contextmanager
    def _open(self, mode: int, *, alone: bool = False) -> Iterator[int]:
        """The file that was opened first, and no other in its place."""
        try:
            file = os.open(self._file, mode | os.O_NOFOLLOW)
        except OSError as error:
            raise SearchFailed(
                f"cannot open {self._path} any more: {error.strerror}; bring it back, and the "
                "same command goes on"
            ) from error
        try:
            if alone:
                lock(file, self._path)
            if os.fstat(file).st_ino != self._inode:
                raise SearchFailed(
                    f"{self._path} was replaced by another file while it was in use; the same "
                    "command goes on with what it holds now"
                )
            yield file
        finally:
            unlock(file)

    def _read(self, file: int, *, settled: bool = True) -> bool:
        """Takes in what was written since; whether all of it is sound.

        Args:
            file: the open file.
            settled: whether nobody can be writing it.

        Raises:
            RequestError: something is not sound, and what follows it is.
        """
        size = os.fstat(file).st_size
        if size < self._end and settled:
            raise self._damage(self._lines)
        found = lines_of(os.pread(file, max(0, size - self._end), self._end))
        for number, raw in enumerate(found):
            line = JournalLine(raw)
            if not line.sound or line.after != self._last:
                rest = found[number:]
                if settled and (
                    len(rest) > TORN or any(JournalLine(other).sound for other in rest)
                ):
                    raise self._damage(self._lines + 1)
                return False
            self._end, self._last = self._end + len(raw), line.sum
            self._lines += 1
            self._fresh.append(line.record())
        return True

    def _damage(self, line: int) -> RequestError:
        return RequestError(
            f"{self._path} is damaged at line {line}: it is not what was written; "
            f"`{_repair_command(self._path)}` sets that aside and keeps the rest"
        )


def _repair_command(path: Path) -> str:
    """What to type; only a journal in the usual place is called as its study."""
    if path == Path(FOLDER) / path.name:
        return f"lrsearch repair {path.stem}"
    return f"lrsearch repair STUDY --storage {path}"


def _write_all(file: int, text: bytes, location: int) -> None:
    while text:
        written = os.pwrite(file, text, location)
        text, location = text[written:], location + written


def open_journal(path: Path) -> JournalStorage:
    """Opens a journal, creating it where there is none.

    Raises:
        RequestError: it cannot be opened or read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return JournalStorage(Journal(path))
    except OSError as error:
        raise RequestError(
            f"cannot open {path}: {error.strerror}; choose another --storage"
        ) from error
    except RequestError:
        raise
    except STRANGE as error:
        raise RequestError(
            f"{path} is no journal of studies ({type(error).__name__}: {error}); choose another "
            "--storage"
        ) from error


def real_path(path: Path) -> Path:
    """A path at which there is no symbolic link, which could lead anywhere.

    Raises:
        RequestError: it is one.
    """
    if path.is_symlink():
        raise RequestError(f"{path} is a symbolic link; name the file that it leads to")
    return path


def check_journal(path: Path) -> None:
    """Refuses a file that is none of ours before anything is written to it.

    Raises:
        RequestError: it is something else, or cannot be read.
    """
    if not real_path(path).exists():
        return
    if not path.is_file():
        raise RequestError(f"cannot open {path}: it is no regular file; choose another --storage")
    try:
        with path.open("rb") as file:
            first, *others = (file.readline() for _ in range(TORN + 1))
    except OSError as error:
        raise RequestError(
            f"cannot read {path}: {error.strerror}; choose another --storage"
        ) from error
    begin = b'{"op_code"'
    if not begin.startswith(first[: len(begin)]):
        raise RequestError(f"{path} is no journal of studies; choose another --study or --storage")
    if all(line and not JournalLine(line).sound for line in (first, *others)):
        raise RequestError(
            f"{path} was not written by this version of lrsearch; name another study"
        )
