"""Functions in processes of their own: N runs at once, one device each.

A worker imports the objective by name, reads runs from its standard input and writes outcomes to
its standard output, a JSON object a line. Nothing is pickled. A worker that dies is replaced and
its run begun again; a run that kills several is a failed one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from lrsearch.contract import Objective, Run, Runs
from lrsearch.errors import RequestError
from lrsearch.objectives.function import FunctionObjective
from lrsearch.result import Outcome

__all__ = ["Workers", "in_workers"]

#: How often a run may lose its worker before it counts as failed.
ATTEMPTS = 3
#: Seconds that a worker has to end after it was asked to.
PATIENCE = 2.0


class Workers:
    """An objective whose runs are answered by worker processes.

    Args:
        inner: the objective, for what it is.
        reference: where workers import it from.
        count: N.
    """

    def __init__(self, inner: Objective, reference: str, count: int) -> None:
        self.setup = dataclasses.replace(inner.setup, slots=count)
        self._inner = inner
        self._reference = reference
        self._count = count

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Keeps every worker busy and yields outcomes as they come."""
        answers: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        numbers = reversed(range(self._count))  # the last of a list is taken first
        idle = [_Worker(self._reference, i, self._count, answers) for i in numbers]
        busy: dict[_Worker, Run] = {}
        attempts: dict[tuple[int, int], int] = {}
        try:
            while True:
                for run in runs.take(len(idle)):
                    worker = idle.pop()
                    busy[worker] = run
                    worker.send(run)
                if not busy:
                    return
                worker, answer = answers.get()
                run = busy.pop(worker)
                if answer is not None:
                    idle.append(worker)
                    yield Outcome.from_dict(answer)
                    continue
                code = worker.close()
                worker = _Worker(self._reference, worker.index, self._count, answers)
                key = (run.trial, run.replicate)
                attempts[key] = attempts.get(key, 0) + 1
                if attempts[key] < ATTEMPTS:
                    busy[worker] = run
                    worker.send(run)
                else:
                    idle.append(worker)
                    reason = f"its worker died {ATTEMPTS} times, the last with exit code {code}"
                    yield run.end("failed", reason=reason)
        finally:
            for worker in [*idle, *busy]:
                worker.close()

    def optimum(self, steps: int, batch: int) -> float | None:
        """As the objective itself says."""
        return self._inner.optimum(steps, batch)


class _Worker:
    """One process, and a thread that listens to it."""

    def __init__(
        self,
        reference: str,
        index: int,
        count: int,
        answers: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]],
    ) -> None:
        self.index = index
        self._process = subprocess.Popen(  # our own file, our own interpreter
            [sys.executable, "-P", "-m", "lrsearch.objectives.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(index, count),
            start_new_session=True,  # Ctrl-C is the search's to handle
        )
        self._answers = answers
        self._write({"objective": reference, "path": sys.path})
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, run: Run) -> None:
        """Gives it a run."""
        self._write(run.to_dict())

    def close(self) -> int:
        """Ends it; its exit code."""
        with contextlib.suppress(BrokenPipeError):
            cast(IO[str], self._process.stdin).close()
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _write(self, message: dict[str, Any]) -> None:
        pipe = cast(IO[str], self._process.stdin)
        # A worker that is dead is heard of by the thread that listens to it.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

    def _listen(self) -> None:
        pipe = cast(IO[str], self._process.stdout)
        with pipe:
            for line in pipe:
                self._answers.put((self, json.loads(line)))
        self._answers.put((self, None))


def _environment(index: int, count: int) -> dict[str, str]:
    """A device of its own where there are several, and its share of the cores."""
    environment = dict(os.environ)
    environment["LRSEARCH_WORKER"] = str(index)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // count)))
    devices = _devices()
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return environment


def _devices() -> list[str]:
    """The GPUs that this process may use, without loading torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(i) for i in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def in_workers(given: Any, objective: Objective, count: int) -> Workers:
    """A function in worker processes.

    Args:
        given: what names or makes the objective.
        objective: what it has become.
        count: how many processes.

    Raises:
        RequestError: it is no function, or can be imported from nowhere.
    """
    if not isinstance(objective, FunctionObjective):
        raise RequestError(
            f"objective {objective.setup.name} does not run in workers: they are for functions; "
            "leave workers out"
        )
    reference = given if isinstance(given, str) else _name_of(objective.function)
    return Workers(objective, reference, count)


def _name_of(function: Any) -> str:
    """Where a function can be imported from."""
    module, name = function.__module__, function.__qualname__
    if not name.isidentifier():
        raise RequestError(
            f"a worker cannot import {name}: define the function at the top of a file"
        )
    if module != "__main__":
        return f"{module}:{name}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise RequestError(
            f"a worker cannot import {name} from an interactive session; put it into a file"
        )
    return f"{Path(file).absolute()}:{name}"
