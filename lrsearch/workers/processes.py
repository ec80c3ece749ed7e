"""Workers as processes of this machine, each with a device of its own, over pipes.

Runs go out and outcomes come in as JSON objects, one a line; nothing is pickled. With a worker
ends whatever it has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, cast

from lrsearch.workers.pool import Inbox

#: What a worker runs.
MODULE = "lrsearch.workers.worker"
#: Seconds that a worker has to end after it was asked to.
PATIENCE = 2.0


class Process:
    """One process, and the threads that listen to it and wait for its end.

    Args:
        order: what it is told first.
        index: which of the workers it is.
        count: how many there are here.
        inbox: where it is heard.
    """

    def __init__(self, order: dict[str, Any], index: int, count: int, inbox: Inbox) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own file, our own interpreter
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(index, count),
            start_new_session=True,  # Ctrl-C is the search's to handle
        )
        self._inbox = inbox
        self._write({**order, "path": sys.path})
        self._once, self._said = threading.Lock(), False
        self._callback = threading.Thread(target=self._listen, daemon=True)
        self._callback.start()
        threading.Thread(target=self._bury, daemon=True).start()

    def give(self, runs: list[dict[str, Any]]) -> None:
        """As `lrsearch.workers.pool.WorkerHandle`."""
        self._write(runs)

    def close(self, *, dying: bool = False) -> str:
        """As `lrsearch.workers.pool.WorkerHandle`."""
        with contextlib.suppress(BrokenPipeError):
            cast(IO[str], self._process.stdin).close()
        if dying:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self._process.terminate()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = self._end_all()
        self._end_all()
        return f"exit code {code}"

    def _end_all(self) -> int:
        """Kills it and whatever it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
        return self._process.wait()

    def _bury(self) -> None:
        """Ends what a dead worker left behind, which may hold its end of the pipe open.

        What has escaped that by a session of its own holds it open still.
        """
        self._process.wait()
        self._end_all()
        self._callback.join(PATIENCE)
        self._say_dead()

    def _say_dead(self) -> None:
        with self._once:
            if not self._said:
                self._said = True
                self._inbox.put((self, None))

    def _write(self, message: Any) -> None:
        pipe = cast(IO[str], self._process.stdin)
        # A worker that is dead is heard of by the thread that listens to it.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

    def _listen(self) -> None:
        pipe = cast(IO[str], self._process.stdout)
        with pipe:
            for line in pipe:
                self._inbox.put((self, json.loads(line)))
        self._say_dead()


def _environment(index: int, count: int) -> dict[str, str]:
    """A device of its own where there are several, and its share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = _devices() if count > 1 else []
    return {
        "OMP_NUM_THREADS": str(max(1, (cores or 1) // count)),
        **os.environ,
        "LRSEARCH_WORKER": str(index),
        **({"CUDA_VISIBLE_DEVICES": devices[index % len(devices)]} if devices else {}),
    }


def _devices() -> list[str]:
    """The GPUs that this process may use, without loading torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(i) for i in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
