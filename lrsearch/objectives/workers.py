"""Functions in processes of their own: N runs at once, one device each.

A worker imports the objective by name, reads runs from its standard input and writes outcomes to
its standard output, a JSON object a line. Nothing is pickled. A worker that dies is replaced and
its run begun again; a run that kills several is a failed one, as is one that takes too long. With
a worker ends whatever it has started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from lrsearch.contract import Objective, Run, Runs
from lrsearch.errors import RequestError
from lrsearch.objectives.function import FunctionObjective
from lrsearch.objectives.worker import BEGUN
from lrsearch.result import Outcome

__all__ = ["Workers", "in_workers"]

#: Seconds that a worker has to end after it was asked to.
PATIENCE = 2.0
#: Seconds after its time is up at which a run is no longer waited for: it has its own clock too.
GRACE = 1.0
#: Seconds between two looks at whether a run that is limited has begun.
LOOK = 0.5


class Workers:
    """An objective whose runs are answered by worker processes.

    Args:
        inner: the objective, for what it is.
        reference: where workers import it from.
        count: N.
        retries: how often a run is begun again after its worker has died.
    """

    def __init__(self, inner: Objective, reference: str, count: int, retries: int) -> None:
        self.setup = dataclasses.replace(inner.setup, slots=count)
        self._inner = inner
        self._reference = reference
        self._count = count
        self._retries = retries

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Keeps every worker busy and yields outcomes as they come."""
        answers: Answers = queue.SimpleQueue()
        numbers = reversed(range(self._count))  # the last of a list is taken first
        idle = [_Worker(self._reference, i, self._count, answers) for i in numbers]
        busy: dict[_Worker, Run] = {}
        try:
            while True:
                for run in runs.take(len(idle)):
                    free = idle.pop()
                    busy[free] = run
                    free.send(run)
                if not busy:
                    return
                try:
                    worker, answer = _next_answer(answers, busy, idle=bool(idle))
                except queue.Empty:
                    continue  # another process may have ended what a new run was waiting for
                if worker is not None and worker not in busy:  # it died while it was idle
                    if worker in idle:
                        idle[idle.index(worker)] = self._replace(worker, answers)
                    continue
                if worker is not None and answer is not None:
                    del busy[worker]
                    idle.append(worker)
                    yield Outcome.from_dict(answer)
                    continue
                gone = worker or min(busy, key=lambda worker: _end(worker, busy[worker]))
                run = busy.pop(gone)
                code, fresh = gone.close(dying=worker is not None), self._replace(gone, answers)
                ended = self._lose(run, code, late=worker is None)
                if ended is None:
                    busy[fresh] = run
                    fresh.send(run)
                else:
                    idle.append(fresh)
                    yield ended
        finally:
            for worker in [*idle, *busy]:
                worker.close()

    def optimum(self, steps: int, batch: int) -> float | None:
        """As the objective itself says."""
        return self._inner.optimum(steps, batch)

    def _lose(self, run: Run, code: int, *, late: bool) -> Outcome | None:
        """How a run that has lost its worker ends; None if it is begun again."""
        if late:
            reason = f"it took longer than {run.limit:g} s, and was ended"
            return run.end("failed", reason=reason)
        if run.retries < self._retries:
            run.retries += 1
            return None
        times = f"{run.retries + 1} times, the last" if run.retries else "once,"
        return run.end("failed", reason=f"its process died {times} with exit code {code}")

    def _replace(self, worker: _Worker, answers: Answers) -> _Worker:
        return _Worker(self._reference, worker.index, self._count, answers)


#: A worker's outcomes, and None once it is dead.
Answers = queue.SimpleQueue[tuple["_Worker", dict[str, Any] | None]]


def _end(worker: _Worker, run: Run) -> float:
    """When a run's time is up, by the monotonic clock."""
    if run.limit is None or not worker.began:
        return math.inf
    return worker.began + run.limit + GRACE


def _next_answer(
    answers: Answers, busy: Mapping[_Worker, Run], *, idle: bool
) -> tuple[_Worker | None, dict[str, Any] | None]:
    """The next outcome or death; no worker where the time of a run is up first.

    Raises:
        queue.Empty: there was none for a while, and a worker is idle.
    """
    limited = any(run.limit is not None for run in busy.values())
    while True:
        left = min(_end(worker, run) for worker, run in busy.items()) - time.monotonic()
        if left <= 0:
            return None, None
        try:
            return answers.get(timeout=min(left, LOOK) if limited or idle else None)
        except queue.Empty:
            if idle:
                raise  # else a run may have begun by now


class _Worker:
    """One process, and the threads that listen to it and wait for its end.

    Attributes:
        index: which of the workers it is.
        began: when it began its run, by the monotonic clock; 0 before it says so.
    """

    def __init__(self, reference: str, index: int, count: int, answers: Answers) -> None:
        self.index = index
        self.began = 0.0
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
        self._once, self._said = threading.Lock(), False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._bury, daemon=True).start()

    def send(self, run: Run) -> None:
        """Gives it a run."""
        self.began = 0.0
        self._write(run.to_dict())

    def close(self, *, dying: bool = False) -> int:
        """Ends it and whatever it has started; its exit code.

        Args:
            dying: it is about to end by itself, and its own exit code is wanted.
        """
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
        return code

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
        self._listener.join(PATIENCE)
        self._say_dead()

    def _say_dead(self) -> None:
        with self._once:
            if not self._said:
                self._said = True
                self._answers.put((self, None))

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
                answer = json.loads(line)
                if answer == BEGUN:
                    self.began = time.monotonic()
                else:
                    self._answers.put((self, answer))
        self._say_dead()


def _environment(index: int, count: int) -> dict[str, str]:
    """A device of its own where there are several, and its share of the cores."""
    environment = dict(os.environ)
    environment["LRSEARCH_WORKER"] = str(index)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // count)))
    devices = _devices()
    if devices and count > 1:
        environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return environment


def _devices() -> list[str]:
    """The GPUs that this process may use, without loading torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(i) for i in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def in_workers(given: Any, objective: Objective, count: int, retries: int) -> Workers:
    """A function in worker processes.

    Args:
        given: what names or makes the objective.
        objective: what it has become.
        count: how many processes.
        retries: how often a run is begun again after its worker has died.

    Raises:
        RequestError: it is no function, or can be imported from nowhere.
    """
    if not isinstance(objective, FunctionObjective):
        raise RequestError(
            f"objective {objective.setup.name} does not run in workers: they are for functions; "
            "leave workers out"
        )
    reference = given if isinstance(given, str) else _name_of(objective.function)
    return Workers(objective, reference, count, retries)


def _name_of(function: Any) -> str:
    """Where a function can be imported from."""
    module, name = function.__module__, function.__qualname__
    if not name.isidentifier():
        raise RequestError(
            f"a worker cannot import {name}; define the function at the top of a "
            "file, or leave workers and trial_timeout out"
        )
    if module != "__main__":
        return f"{module}:{name}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise RequestError(
            f"a worker cannot import {name} from an interactive session; put it into a file, or "
            "leave workers and trial_timeout out"
        )
    return f"{Path(file).absolute()}:{name}"
