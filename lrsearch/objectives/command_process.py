"""A command that runs in a process group of its own, whose output is read line by line."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

import psutil

from lrsearch.objectives.child_processes import PATIENCE, end_processes
from lrsearch.objectives.guardian import Guardian

#: Bytes of an output that are kept from its begin, and from its end.
HEAD, TAIL = 2**20, 2**18
#: Longest line that is read as one; the rest of a longer one is not read.
LONGEST_LINE = 2**14
#: Seconds between two looks at the time limit while the command prints nothing.
LOOK = 0.2
#: Environment variable whose value only the processes of one command have.
MARK = "LRSEARCH_RUN_FOLDER"
#: Ends of lines; progress bars rewrite their line after a carriage return.
ENDS = re.compile(rb"[\r\n]+")


class CommandProcess:
    """A running command, as a context manager that leaves none of its processes.

    Args:
        words: the command and its arguments.
        environment: its environment; `MARK` in it, or the path of its output, tells its processes
            from all others.
        output: file for its output, standard output and error together; the middle of an output
            beyond `HEAD + TAIL` bytes is left out.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self._mark = environment.get(MARK, str(output.absolute()))
        self._output, self._written, self._dropped = output.open("wb"), 0, 0
        self._end: deque[bytes] = deque()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the user's own command
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**environment, MARK: self._mark},
                start_new_session=True,  # so that Ctrl-C reaches only the search
            )
        except BaseException:
            self._output.close()
            raise
        self._guardian = Guardian(self._process.pid)
        self.began = time.monotonic()

    def __enter__(self) -> CommandProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the command and all processes that it has started, and close its output."""
        try:
            self._end_all()
        finally:
            self._guardian.dismiss()
            cast(IO[bytes], self._process.stdout).close()
            if self._dropped:
                self._output.write(b"\n[%d bytes left out]\n" % self._dropped)
            self._output.write(b"".join(self._end))
            self._output.close()

    def lines(self, limit: float | None) -> Iterator[str]:
        """Yield the lines of the output until it ends.

        While the command prints nothing, an empty line comes every `LOOK` seconds; other empty
        lines are left out.

        Args:
            limit: time limit in seconds, or None.

        Raises:
            TimeoutError: the limit is reached.
        """
        pipe, rest, ended = cast(IO[bytes], self._process.stdout), b"", None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                if limit is not None and time.monotonic() - self.began > limit:
                    raise TimeoutError
                if ended is None and self._process.poll() is not None:
                    ended = time.monotonic()
                if ended is not None and time.monotonic() - ended > LOOK:
                    break  # a process that it left behind holds its output open, and may print
                if not selector.select(LOOK):
                    yield ""
                    continue
                read = os.read(pipe.fileno(), 2**16)
                if not read:
                    break
                self._keep(read)
                *whole, rest = ENDS.split(rest + read)
                rest = rest[:LONGEST_LINE]
                yield from (line.decode(errors="replace") for line in whole if line)
        if rest:
            yield rest.decode(errors="replace")

    def code(self, limit: float | None) -> int:
        """Return the exit code, which is negative for a signal.

        Raises:
            TimeoutError: the command closed its output and still runs at its time limit.
        """
        left = None if limit is None else max(0.0, self.began + limit - time.monotonic())
        try:
            return self._process.wait(left)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def _keep(self, read: bytes) -> None:
        room = max(0, HEAD - self._written)
        self._output.write(read[:room])
        self._output.flush()
        self._written += len(read[:room])
        if read[room:]:
            self._end.append(read[room:])
            while sum(map(len, self._end)) - len(self._end[0]) > TAIL:
                self._dropped += len(self._end.popleft())

    def _end_all(self) -> None:
        """End the process group, and the processes of it that have a session of their own."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        end_processes(list(self._marked()))

    def _marked(self) -> Iterator[psutil.Process]:
        """Yield the processes that have the mark of this command in their environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self._mark:
                    yield process
