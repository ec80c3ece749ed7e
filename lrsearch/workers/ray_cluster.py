"""Workers on a Ray cluster, which places them, copies the user's code and detects dead workers.

A worker is an actor. It runs the same stream as a process on this machine; its messages are
fetched by method calls. Ray starts waiting actors when nodes join. Ray serialises messages in
flight; they are not stored.
"""

from __future__ import annotations

import contextlib
import copy
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lrsearch.codec import encode
from lrsearch.errors import RequestError, one_line
from lrsearch.objectives.command import Command
from lrsearch.objectives.loading import is_reference, split_reference
from lrsearch.workers.pool import Inbox

Ask = Callable[[int], list[dict[str, Any]]]
Answer = Callable[[Mapping[str, Any], Ask], Iterator[dict[str, Any]]]

#: Files that a folder of code often contains and no worker needs.
EXCLUDED = (".git", "lrsearch-studies", "mlruns", "mlartifacts", "*.db", "*.db-*", "__pycache__")
#: The address of a cluster that is started on this machine.
LOCAL = "local"
#: The runtime environment with which lrsearch has joined a cluster; empty if it has joined none.
_joined: list[dict[str, Any]] = []
#: Seconds between two checks that a worker is still wanted.
LOOK = 0.5


class Cluster:
    """A Ray cluster, joined while there are workers.

    Args:
        given: the objective as the user gave it, a name or an object.
        answer: function that a worker runs.
        address: `auto`, `local` or `ray://HOST:PORT`; None for `auto`.
        gpus, cpus: resources per worker; None for one CPU core, and one GPU if there is any.

    Attributes:
        given: the objective as workers load it, a name or an object.
        room: number of workers that fit on the cluster now, at least 1.

    Raises:
        RequestError: Ray is not installed, or there is no such cluster.
    """

    def __init__(
        self,
        given: Any,
        answer: Answer,
        *,
        address: str | None,
        gpus: float | None,
        cpus: float | None,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise RequestError(
                "engine ray needs Ray; run pip install 'lrsearch[ray]', or leave out `engine=`"
            ) from error
        self._ray: Any = ray
        self._answer, self._address = answer, address or "auto"
        self.given, self._environment = _ship(given, shared=self._address == LOCAL)
        self._join()
        total = self._ray.cluster_resources()
        if gpus is None:
            gpus = 1.0 if total.get("GPU") else 0.0
        self._share = {"CPU": 1.0 if cpus is None else cpus, "GPU": gpus}
        fits = [total.get(name, 0.0) / share for name, share in self._share.items() if share]
        self.room = max(1, int(min(fits, default=1.0)))

    def _join(self) -> None:
        """Join the cluster, unless this process has joined it.

        A user who has called `ray.init` is responsible for the code on the nodes.
        """
        if self._ray.is_initialized():
            if _joined in ([], [self._environment]):
                return
            self.leave()  # the connection was made for the code of another objective
        try:
            self._ray.init(
                address=self._address,
                namespace="lrsearch",
                runtime_env=copy.deepcopy(self._environment),  # Ray writes into it
                logging_level="WARNING",
            )
            _joined.append(self._environment)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise RequestError(
                f"cannot join a Ray cluster at {self._address} ({one_line(str(error))[:300]}); "
                "start one with `ray start --head`, or give its `address=`"
            ) from error

    def leave(self) -> None:
        """Leave the cluster, so that Ray prints nothing after the result."""
        if _joined and self._address != LOCAL:  # a local cluster can be started only once
            self._ray.shutdown()
            _joined.clear()

    def start_worker(self, order: dict[str, Any], index: int, inbox: Inbox) -> _Actor:
        """Start a worker."""
        self._join()
        make = self._ray.remote(
            num_cpus=self._share["CPU"],
            num_gpus=self._share["GPU"],
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        )
        return _Actor(self._ray, make(_RayWorker).remote(order, index, self._answer), inbox)


class _RayWorker:
    """The actor: it runs the stream in a thread and queues its messages."""

    def __init__(self, order: dict[str, Any], index: int, answer: Answer) -> None:
        os.environ["LRSEARCH_WORKER"] = str(index)
        os.dup2(2, 1)  # the output of the user's code goes to stderr
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in: queue.SimpleQueue[list[dict[str, Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(order, answer), daemon=True).start()

    def next(self) -> list[Any]:
        """Wait for messages, and return those since the last call."""
        said = [self._out.get()]
        while not self._out.empty():
            said.append(self._out.get())
        if isinstance(said[-1], BaseException):  # the last message
            self._out.put(said.pop())
            if not said:
                raise self._out.get()
        return said

    def give(self, runs: list[dict[str, Any]]) -> None:
        """Send the runs that the worker has asked for."""
        self._in.put(runs)

    def _run(self, order: dict[str, Any], answer: Answer) -> None:
        def ask(room: int) -> list[dict[str, Any]]:
            self._out.put({"room": room})
            return self._in.get()

        try:
            for outcome in answer(order, ask):
                self._out.put(outcome)
        except BaseException as error:  # noqa: BLE001  # reported as the worker's death
            self._out.put(error)


class _Actor:
    """A handle of a worker on the cluster (`lrsearch.workers.pool.WorkerHandle`)."""

    def __init__(self, ray: Any, worker: Any, inbox: Inbox) -> None:
        self._ray, self._worker, self._inbox = ray, worker, inbox
        self._over, self._how = False, "unknown cause"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def give(self, runs: list[dict[str, Any]]) -> None:
        """Send runs to the worker; see `lrsearch.workers.pool.WorkerHandle`."""
        self._worker.give.remote(runs)  # the thread that reads messages detects a dead worker

    def close(self, *, dying: bool = False) -> str:
        """End the worker; see `lrsearch.workers.pool.WorkerHandle`."""
        self._over = True
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._worker)
        self._thread.join()  # a call to Ray after `leave` would start a new cluster
        return self._how

    def _listen(self) -> None:
        try:
            said = self._worker.next.remote()
            while not self._over:
                ready, _ = self._ray.wait([said], timeout=LOOK)
                if ready:
                    for message in self._ray.get(said):
                        self._inbox.put((self, message))
                    said = self._worker.next.remote()
        except Exception as error:  # noqa: BLE001  # Ray raises any error of the worker
            self._how = one_line(str(error).strip().rpartition("\n")[2])[:200]
        self._inbox.put((self, None))


def _ship(given: Any, *, shared: bool) -> tuple[Any, dict[str, Any]]:
    """Return the objective for workers, and the runtime environment that contains its code.

    Args:
        given: the objective as the user gave it, a name or an object.
        shared: True if workers are on this machine, so that the code need not be copied.
    """
    if isinstance(given, Command):  # its files are those of the working directory
        here: dict[str, Any] = {"working_dir": os.getcwd(), "excludes": list(EXCLUDED)}
        return encode(given), {} if shared else here
    if not isinstance(given, str):
        return given, {} if shared else _folder_of(given)
    if not is_reference(given):
        return given, {}
    source, colon, name = split_reference(given)
    folder = os.getcwd()
    if source.endswith(".py"):
        path = Path(source).absolute()
        if shared:
            return f"{path}{colon}{name}", {}
        folder, given = str(path.parent), f"{path.name}{colon}{name}"
    return given, {"working_dir": folder, "excludes": list(EXCLUDED)}


def _folder_of(given: Any) -> dict[str, Any]:
    """Return the environment of an object: the folder from which its module is imported."""
    module = sys.modules.get(getattr(given, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] == "lrsearch":
        return {}
    depth = module.__name__.count(".") + (Path(file).name == "__init__.py")
    folder = Path(file).absolute().parents[depth]
    if folder.name in ("site-packages", "dist-packages"):
        return {}
    return {"working_dir": str(folder), "excludes": list(EXCLUDED)}
