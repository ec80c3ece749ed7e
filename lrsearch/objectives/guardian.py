"""A process that ends a command if the process that runs it has died.

A search, or a worker, that is killed cannot end its command. So each command has a guardian in a
session of its own, which reads from a pipe that only the running process holds open: the end of
the pipe without a message means that this process is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

#: Seconds that the command has to end after SIGTERM, before it is killed.
PATIENCE = 3.0
#: Message of a process that has ended its command itself.
DONE = b"done"


class Guardian:
    """A guardian of the process group of a command.

    Args:
        group: process group of the command.
    """

    def __init__(self, group: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # this file
            [sys.executable, "-I", "-S", __file__, str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # signals for the search or its worker do not reach it
        )

    def dismiss(self) -> None:
        """End the guardian, because the command has ended."""
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(DONE, timeout=PATIENCE)
        self._process.kill()
        self._process.wait()


def guard(group: int) -> None:
    """Wait for the end of the pipe, and end a process group unless the message says `DONE`."""
    if sys.stdin.buffer.read() == DONE:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(0.05)
            os.killpg(group, 0)  # raises an error once the group is gone
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    guard(int(sys.argv[1]))
