"""Workers as processes of this machine, connected by pipes.

Runs and outcomes are JSON objects, one per line; no pickle is used. When a worker ends, all
processes that it has started are ended too.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from lrsearch.errors import RequestError
from lrsearch.workers.pool import Inbox

#: The module that a worker runs.
MODULE = "lrsearch.workers.worker"
#: Seconds that a worker has to end by itself.
PATIENCE = 2.0


class Process:
    """A worker process, and the threads that read its messages and wait for its end.

    Args:
        order: the first message to the worker.
        index: number of the worker.
        shares: the GPUs of each worker on this machine, as from `gpu_shares`.
        inbox: queue for its messages.
    """

    def __init__(
        self, order: dict[str, Any], index: int, shares: Sequence[Sequence[str]], inbox: Inbox
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own file, our own interpreter
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",  # the user's code may write anything to the pipe
            env=_environment(index, shares),
            start_new_session=True,  # Ctrl-C is handled by the search
        )
        self._inbox = inbox
        self._write({**order, "path": sys.path})
        self._once, self._said = threading.Lock(), False
        self._callback = threading.Thread(target=self._listen, daemon=True)
        self._callback.start()
        threading.Thread(target=self._bury, daemon=True).start()

    def give(self, runs: list[dict[str, Any]]) -> None:
        """Send runs to the worker; see `lrsearch.workers.pool.WorkerHandle`."""
        self._write(runs)

    def close(self, *, dying: bool = False) -> str:
        """End the worker; see `lrsearch.workers.pool.WorkerHandle`."""
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
        """Kill the worker and all processes that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the worker leads its own session
        return self._process.wait()

    def _bury(self) -> None:
        """End the child processes of a dead worker, which may hold its end of the pipe open.

        A child process in its own session is not ended and may keep the pipe open, so the wait for
        the reading thread has a time limit.
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
        # The thread that reads its messages detects a dead worker.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

    def _listen(self) -> None:
        with cast(IO[str], self._process.stdout) as pipe:
            for message in messages(pipe):
                self._inbox.put((self, message))
        self._say_dead()


def messages(pipe: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a worker; an empty one for a line that is not a JSON object."""
    for line in pipe:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):  # the user's code has written to this pipe
            message = {}
        yield message if isinstance(message, dict) else {}


def _environment(index: int, shares: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the environment of a worker: its share of the CPU cores and of the GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own = shares[index % len(shares)]
    return {
        "OMP_NUM_THREADS": str(max(1, (cores or 1) // len(shares))),
        **os.environ,
        "LRSEARCH_WORKER": str(index),
        **({"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else {}),
    }


def room(gpus: float | None) -> int:
    """Return the number of workers that fit on the GPUs of this machine, at least 1.

    Args:
        gpus: GPUs per worker; None for one worker.
    """
    return 1 if not gpus else max(1, _fitting(len(_devices()), gpus))


def _fitting(devices: int, gpus: float) -> int:
    """Return the number of workers with a share above 0 each that fit on GPUs."""
    return devices // int(gpus) if gpus >= 1 else devices * int(1 / gpus)


def gpu_shares(count: int, gpus: float | None) -> list[list[str]]:
    """Return the names of the GPUs that each worker uses; none if it may use all.

    Args:
        count: number of workers.
        gpus: GPUs per worker, a fraction if workers share a GPU; None for one each if there are
            several workers, and for all if there is one.

    Raises:
        RequestError: there are not enough GPUs, or a number above 1 is not whole.
    """
    devices = _devices()
    if gpus is None:
        alone = count == 1 or not devices
        return [[] if alone else [devices[i % len(devices)]] for i in range(count)]
    if gpus == 0:
        return [[""] for _ in range(count)]  # hides all GPUs
    if gpus > 1 and gpus != int(gpus):
        raise RequestError(
            f"`worker_gpus=` is {gpus:g}; give a whole number of GPUs, or a fraction below 1"
        )
    if count > _fitting(len(devices), gpus):
        raise RequestError(
            f"this machine has too few GPUs ({len(devices)}) for workers={count} with "
            f"worker_gpus={gpus:g}; reduce one of them"
        )
    if gpus < 1:
        return [[devices[i // int(1 / gpus)]] for i in range(count)]
    size = int(gpus)
    return [devices[i * size : (i + 1) * size] for i in range(count)]


def _devices() -> list[str]:
    """Return the names of the GPUs that this process may use, without loading torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = [name.strip() for name in given.split(",") if name.strip()]
        # CUDA ignores a name like -1, and those after it.
        return list(itertools.takewhile(lambda name: not name.startswith("-"), names))
    return [str(i) for i in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
