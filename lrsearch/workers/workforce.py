"""Where runs are trained: in this process, in worker processes, or on a cluster."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.bounds import Bound
from lrsearch.codec import encode
from lrsearch.contract import Elastic, Objective
from lrsearch.errors import RequestError
from lrsearch.objectives.command import Command
from lrsearch.objectives.function import FunctionObjective
from lrsearch.objectives.loading import is_reference, split_reference
from lrsearch.workers.pool import Inbox, TaskPool, WorkerHandle, WorkerPool

#: Places of workers: processes on this machine, or a Ray cluster.
ENGINES = ("local", "ray")

_ENGINE = Bound(kind="name", names=ENGINES)
_WORKERS = Bound(kind="int", low=1, high=1024, optional=True)
_WORKER_SHARE = Bound(low=0, high=1024, optional=True)


@dataclass(frozen=True, kw_only=True)
class Workforce:
    """The workers of a search.

    Attributes:
        workers: number of workers; None trains in this process, or uses as many as fit on a
            cluster or, with `worker_gpus`, on the GPUs of this machine.
        engine: one of `ENGINES`.
        address: address of a Ray cluster: `auto` for the cluster of this machine, `local` to start
            one here, or `ray://HOST:10001`.
        worker_gpus: GPUs per worker, such as 4 for a command that starts torchrun; a fraction if
            workers share a GPU; None for 1 if there is any.
        worker_cpus: CPU cores per worker on a cluster; None for 1.

    Raises:
        RequestError: a value is out of range, or does not apply to the engine.

    Example:
        >>> lrsearch.Workforce(engine="ray", workers=8, worker_gpus=0.5).worker_gpus
        0.5
    """

    workers: int | None = None
    engine: str = "local"
    address: str | None = None
    worker_gpus: float | None = None
    worker_cpus: float | None = None

    def __post_init__(self) -> None:
        _ENGINE.check("`engine=`", self.engine)
        object.__setattr__(self, "workers", _WORKERS.check("`workers=`", self.workers))
        for name in ("worker_gpus", "worker_cpus"):
            object.__setattr__(self, name, _WORKER_SHARE.check(f"`{name}=`", getattr(self, name)))
        for name in ("address", "worker_cpus"):
            if self.engine == "local" and getattr(self, name) is not None:
                raise RequestError(
                    f'`{name}=` applies to engine ray only; add `engine="ray"`, or leave it out'
                )

    def join(
        self,
        given: Any,
        objective: Objective,
        *,
        options: Mapping[str, Any] | None,
        device: str,
        alone: bool,
        retries: int,
    ) -> Objective:
        """Return the objective, evaluated by these workers.

        Args:
            given: the objective as the user gave it, a name or an object.
            objective: the objective in this process.
            options: options that it was made with.
            device: device of tasks.
            alone: True if each run must be in a process that can be ended at its time limit.
            retries: number of times that a run is repeated after its worker has died.

        Raises:
            RequestError: workers cannot load the objective, or the cluster cannot be joined.
        """
        if isinstance(objective, WorkerPool):  # from an earlier search
            if self == Workforce():
                return objective
            given, objective = objective.given, objective.inner
        here = self.engine == "local" and (self.workers or 1) == 1 and self.worker_gpus is None
        if here and not (alone and isinstance(objective, FunctionObjective)):
            return objective
        if objective.setup.exact:
            raise RequestError(
                f"objective {objective.setup.name} runs in this process only; leave out `workers=`"
            )
        if isinstance(given, Command):
            self._check_file(given)
        if self.engine == "local":
            if device.startswith("cuda:"):
                raise RequestError(
                    f"device {device} is one GPU, but each worker has its own GPU; leave out "
                    "`device=`, or choose GPUs with CUDA_VISIBLE_DEVICES"
                )
            from lrsearch.workers.processes import Process, gpu_shares, room

            told, each = _reference(given, objective), self.worker_gpus
            count = self.workers or room(each)
            shares = gpu_shares(count, each)

            def start_process(order: dict[str, Any], index: int, inbox: Inbox) -> WorkerHandle:
                return Process(order, index, shares, inbox)

            start, dismiss = start_process, _nothing
        else:
            from lrsearch.workers.ray_cluster import Cluster
            from lrsearch.workers.worker import answer

            cluster = Cluster(
                given, answer, address=self.address, gpus=self.worker_gpus, cpus=self.worker_cpus
            )
            told, count = cluster.given, self.workers or cluster.room
            start, dismiss = cluster.start_worker, cluster.leave
        order = {
            "objective": told,
            "options": dict(options or {}),
            "device": device,
            "version": sys.modules["lrsearch"].__version__,
        }
        kind = TaskPool if isinstance(objective, Elastic) else WorkerPool
        return kind(given, objective, order, start, dismiss, count=count, retries=retries)

    def _check_file(self, command: Command) -> None:
        """Refuse one file for the values of several commands that run at the same time."""
        file = command.value_file
        several = self.engine != "local" or (self.workers or 1) > 1 or self.worker_gpus is not None
        if file is not None and file.shared and several:
            raise RequestError(
                f"the commands of several workers would write the same file {command.value_from}; "
                "give it a path that contains {folder}"
            )


def _nothing() -> None:
    """Do nothing: processes of this machine need no clean-up."""


def _reference(given: Any, objective: Objective) -> Any:
    """Return the reference from which a worker imports an objective; a command as JSON."""
    if isinstance(given, Command):
        return encode(given)
    if isinstance(given, str):
        if not is_reference(given):
            return given
        source, colon, name = split_reference(given)
        # User code may change the working directory of this process.
        return f"{Path(source).absolute()}{colon}{name}" if source.endswith(".py") else given
    function = objective.function if isinstance(objective, FunctionObjective) else given
    name = getattr(function, "__qualname__", type(function).__name__)
    if not (isinstance(given, type) or callable(function)) or not name.isidentifier():
        raise RequestError(
            f"a worker cannot import {name}; define the function, or a class of the task, at the "
            "top level of a file, or leave out `workers=` and `trial_timeout=`"
        )
    module = function.__module__
    if module != "__main__":
        return f"{module}:{name}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise RequestError(
            f"a worker cannot import {name} from an interactive session; put it into a file, or "
            "leave out `workers=` and `trial_timeout=`"
        )
    return f"{Path(file).absolute()}:{name}"
