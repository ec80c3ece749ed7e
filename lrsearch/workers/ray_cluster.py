"""Workers on a Ray cluster, which finds them a place, ships the user's code and says who has died.

An actor is a worker: it runs the same stream as a process of this machine does, and its messages
are fetched one call at a time. Ray starts those for which there is no room yet when nodes join.
Ray serialises what is in flight; nothing of it is stored.
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

from lrsearch.errors import RequestError, one_line
from lrsearch.objectives.loading import is_reference, split_reference
from lrsearch.workers.pool import Inbox

Ask = Callable[[int], list[dict[str, Any]]]
Answer = Callable[[Mapping[str, Any], Ask], Iterator[dict[str, Any]]]

#: What a folder of code often holds beside code, and no worker needs.
EXCLUDED = (".git", "lrsearch-studies", "mlruns", "mlartifacts", "*.db", "*.db-*", "__pycache__")
#: The address of a cluster that is started on this machine.
LOCAL = "local"
#: The environment of the cluster that this process has joined by us, if it has.
_joined: list[dict[str, Any]] = []
#: Seconds between two looks at whether a worker is still wanted.
LOOK = 0.5


class Cluster:
    """A Ray cluster, joined as long as there are workers.

    Args:
        given: what names or makes the objective.
        answer: what a worker does.
        address: `auto`, `local` or `ray://HOST:PORT`; None is `auto`.
        gpus, cpus: of each worker; None is 1, of GPUs only where the cluster has any.

    Attributes:
        given: as workers find it.
        room: for how many workers there is room now; at least 1.

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
                "engine ray needs Ray; pip install 'lrsearch[ray]', or leave engine out"
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
        """Joins it, unless this process has; who does so itself ships the code itself."""
        if self._ray.is_initialized():
            if _joined in ([], [self._environment]):
                return
            self.leave()  # whose workers would find another's code
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
                "start one with `ray start --head`, or give its --address"
            ) from error

    def leave(self) -> None:
        """Leaves it, so that nothing of it is heard when the search says what it found."""
        if _joined and self._address != LOCAL:  # one that was started here starts once
            self._ray.shutdown()
            _joined.clear()

    def start_worker(self, order: dict[str, Any], index: int, inbox: Inbox) -> _Actor:
        """Asks for a worker."""
        self._join()
        make = self._ray.remote(
            num_cpus=self._share["CPU"],
            num_gpus=self._share["GPU"],
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        )
        return _Actor(self._ray, make(_RayWorker).remote(order, index, self._answer), inbox)


class _RayWorker:
    """What runs on the cluster: the stream in a thread, and its messages."""

    def __init__(self, order: dict[str, Any], index: int, answer: Answer) -> None:
        os.environ["LRSEARCH_WORKER"] = str(index)
        os.dup2(2, 1)  # what the user's code prints must not mix with the search's result
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._in: queue.SimpleQueue[list[dict[str, Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(order, answer), daemon=True).start()

    def next(self) -> list[Any]:
        """What it has said since the last call, once there is something."""
        said = [self._out.get()]
        while not self._out.empty():
            said.append(self._out.get())
        if isinstance(said[-1], BaseException):  # after which there is nothing more
            self._out.put(said.pop())
            if not said:
                raise self._out.get()
        return said

    def give(self, runs: list[dict[str, Any]]) -> None:
        """Answers its question for runs."""
        self._in.put(runs)

    def _run(self, order: dict[str, Any], answer: Answer) -> None:
        def ask(room: int) -> list[dict[str, Any]]:
            self._out.put({"room": room})
            return self._in.get()

        try:
            for outcome in answer(order, ask):
                self._out.put(outcome)
        except BaseException as error:  # noqa: BLE001  # the search hears of it as a death
            self._out.put(error)


class _Actor:
    """A worker on the cluster, as `lrsearch.workers.pool.WorkerHandle`."""

    def __init__(self, ray: Any, worker: Any, inbox: Inbox) -> None:
        self._ray, self._worker, self._inbox = ray, worker, inbox
        self._over, self._how = False, "no word"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def give(self, runs: list[dict[str, Any]]) -> None:
        """As `lrsearch.workers.pool.WorkerHandle`."""
        self._worker.give.remote(runs)  # one that is dead is heard of by the thread that listens

    def close(self, *, dying: bool = False) -> str:
        """As `lrsearch.workers.pool.WorkerHandle`."""
        self._over = True
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._worker)
        self._thread.join()  # what it asked after we have left would start a cluster of its own
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
        except Exception as error:  # noqa: BLE001  # Ray raises what the worker raised, too
            self._how = one_line(str(error).strip().rpartition("\n")[2])[:200]
        self._inbox.put((self, None))


def _ship(given: Any, *, shared: bool) -> tuple[Any, dict[str, Any]]:
    """What workers are told, and the environment in which they find it.

    Args:
        given: what names or makes the objective.
        shared: whether they are on this machine, and find the code where it is.
    """
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
    """The environment of an object: the folder that its module is imported from."""
    module = sys.modules.get(getattr(given, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] == "lrsearch":
        return {}
    depth = module.__name__.count(".") + (Path(file).name == "__init__.py")
    folder = Path(file).absolute().parents[depth]
    if folder.name in ("site-packages", "dist-packages"):
        return {}
    return {"working_dir": str(folder), "excludes": list(EXCLUDED)}
