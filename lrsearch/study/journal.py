"""Journal files: Optuna's append-only log of JSON lines, protected against crashes and damage.

Optuna's own journal is not protected. A last line torn by a crash makes the study unreadable. A
lock whose holder was killed blocks all other processes for half a minute. A flipped bit in a digit
goes unnoticed. Here every line ends with its own checksum and that of the line before it, so
changed, lost and moved lines are detected. A torn end is cut off before the next line is written.
Locks are the kernel's, which are released when their holder dies. Optuna itself can read these
files.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend, JournalStorage
from optuna.trial import FrozenTrial

from lrsearch.errors import RequestError, SearchFailed, log, one_line
from lrsearch.study.location import FOLDER
from lrsearch.study.locks import lock, unlock
from lrsearch.study.trial_records import STRANGE, collector_paused

#: End of every line: the checksum of the line before it, and that of the preceding part of the
#: line itself.
SUMS = re.compile(rb',"after":"([0-9a-f]{8})","crc":"([0-9a-f]{8})"}\n')
ENDING, OWN = len(b',"after":"01234567","crc":"01234567"}\n'), len(b',"crc":"01234567"}\n')
#: Largest number of lines that a torn end may consist of: a flipped bit may split a line in two.
TORN = 2
#: Mode of a new journal. It may hold private texts, such as messages of errors.
PRIVATE = 0o600
#: Checksum that the first line stores for the line before it.
NOTHING = b"00000000"

optuna.logging.set_verbosity(optuna.logging.WARNING)


class JournalLine:
    """One line of a journal file.

    Attributes:
        after: checksum of the line before it, as 8 hexadecimal digits.
        sum: checksum of this line, as 8 hexadecimal digits.
        sound: True if the line matches its checksum.
    """

    def __init__(self, raw: bytes) -> None:
        found = SUMS.fullmatch(raw[-ENDING:])
        self.after, self.sum = found.groups() if found else (b"", b"")
        self._body = raw[:-OWN]
        self.sound = found is not None and self.sum == b"%08x" % zlib.crc32(self._body)

    def record(self) -> dict[str, Any]:
        """Return the record of this line."""
        record: dict[str, Any] = json.loads(f"{self._body.decode()}}}")
        return record

    @staticmethod
    def write(record: dict[str, Any], after: bytes) -> tuple[bytes, bytes]:
        """Return the line that stores a record, and the checksum of the line.

        Args:
            record: the record.
            after: checksum of the line before it.
        """
        body = json.dumps(record, separators=(",", ":")).encode()
        body = body[:-1] + b',"after":"%s"' % after
        own = b"%08x" % zlib.crc32(body)
        return body + b',"crc":"%s"}\n' % own, own


def lines_of(content: bytes) -> list[bytes]:
    """Return the lines of a journal; the last one may lack its line break."""
    return io.BytesIO(content).readlines()


class Journal(BaseJournalBackend):
    """A journal file as a backend of Optuna's `JournalStorage`.

    Args:
        path: path of the file, which is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.absolute()  # user code may change the working folder
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
        self._inode = path.stat().st_ino
        self._end, self._last, self._lines = 0, NOTHING, 0
        self._fresh: deque[dict[str, Any]] = deque()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the records not yielded before: Optuna reads each of them once, in order."""
        with self._open(os.O_RDONLY) as file:
            whole = self._read(file, settled=False)
        if not whole:  # another process may be writing: read again under the lock
            with self._open(os.O_RDONLY, alone=True) as file:
                self._read(file)
        while self._fresh:
            yield self._fresh.popleft()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records: all of them or none.

        Raises:
            SearchFailed: the file cannot be written, for example because the disk is full.
            RequestError: the file is damaged.
        """
        with self._open(os.O_RDWR, alone=True) as file:
            if not self._read(file):
                log.warning("%s: dropped the last record, which a crash cut off", self._path)
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
                    f"cannot write {self._path}: {error.strerror}; ended trials are kept; fix the "
                    "cause and run the same command again to continue"
                ) from error
            self._read(file)

    @contextlib.contextmanager
    def _open(self, mode: int, *, alone: bool = False) -> Iterator[int]:
        """Yield the open file, and refuse another file in its place."""
        try:
            file = os.open(self._file, mode | os.O_NOFOLLOW)
        except OSError as error:
            raise SearchFailed(
                f"cannot open {self._path} any more: {error.strerror}; restore the file and run "
                "the same command again to continue"
            ) from error
        try:
            if alone:
                lock(file, self._path)
            if os.fstat(file).st_ino != self._inode:
                raise SearchFailed(
                    f"{self._path} was replaced by another file while it was in use; run the same "
                    "command again to continue with the new file"
                )
            yield file
        except OSError as error:  # for example a network disk that is gone
            raise SearchFailed(
                f"cannot read {self._path}: {error.strerror}; ended trials are kept; restore the "
                "file and run the same command again to continue"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                unlock(file)

    def _read(self, file: int, *, settled: bool = True) -> bool:
        """Read the lines written since the last call; return whether all of them are intact.

        Args:
            file: the open file.
            settled: True if no other process can be writing to the file now.

        Raises:
            RequestError: the file is damaged in another place than its torn end.
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
            f"{self._path} is damaged at line {line}: it was changed after it was written; run "
            f"`{_repair_command(self._path)}`, which keeps the intact records"
        )


def _repair_command(path: Path) -> str:
    """Return the command that repairs a journal; in the default folder it needs no path."""
    if path == Path(FOLDER) / path.name:
        return f"lrsearch repair {path.stem}"
    return f"lrsearch repair STUDY --storage {shlex.quote(str(path))}"


def _write_all(file: int, text: bytes, location: int) -> None:
    while text:
        written = os.pwrite(file, text, location)
        text, location = text[written:], location + written


class RecordStorage(JournalStorage):
    """Optuna's storage of a journal, which can also read the last trials without the others.

    Optuna builds a list of all trials at each call: 2 ms for 10 000 trials.
    """

    def get_trials_from(self, study: int, place: int) -> list[FrozenTrial]:
        """Return the trials of a study from a place in their order on, not copied.

        Raises:
            SearchFailed: the study was deleted.
        """
        with self._thread_lock:
            self._sync_with_backend()
            known = self._replay_result
            if study not in known._studies:
                raise study_deleted()
            return [known._trials[key] for key in known._study_id_to_trial_ids[study][place:]]


def study_deleted() -> SearchFailed:
    """Return the error about a study that another process has deleted."""
    return SearchFailed(
        "the study was deleted while it was in use; run the same command again to search anew"
    )


def open_journal(path: Path) -> RecordStorage:
    """Open a journal, creating it if it does not exist.

    Raises:
        RequestError: the journal cannot be opened or read.
    """
    try:
        with warnings.catch_warnings(), collector_paused():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return RecordStorage(Journal(path))
    except OSError as error:
        raise RequestError(
            f"cannot open {path}: {error.strerror}; choose another `storage=`"
        ) from error
    except RequestError:
        raise
    except STRANGE as error:
        raise RequestError(
            f"{path} is not an lrsearch journal ({type(error).__name__}: "
            f"{one_line(str(error))}); choose another `storage=`"
        ) from error


def real_path(path: Path) -> Path:
    """Return a path unchanged if it is not a symbolic link, which could point anywhere.

    Raises:
        RequestError: the path is a symbolic link.
    """
    if path.is_symlink():
        raise RequestError(f"{path} is a symbolic link; give the path that it points to")
    return path


def check_journal(path: Path) -> None:
    """Refuse a file that is not an lrsearch journal, before anything is written to it.

    Raises:
        RequestError: the file is not an lrsearch journal, or cannot be read.
    """
    if not real_path(path).exists():
        return
    if not path.is_file():
        raise RequestError(f"{path} is not a regular file; choose another `storage=`")
    try:
        with path.open("rb") as file:
            first, *others = (file.readline() for _ in range(TORN + 1))
    except OSError as error:
        raise RequestError(
            f"cannot read {path}: {error.strerror}; choose another `storage=`"
        ) from error
    begin = b'{"op_code"'
    if not begin.startswith(first[: len(begin)]):
        raise RequestError(
            f"{path} is not an lrsearch journal; choose another `study=` or `storage=`"
        )
    if all(line and not JournalLine(line).sound for line in (first, *others)):
        raise RequestError(
            f"{path} was not written by this version of lrsearch; choose another `study=`"
        )
