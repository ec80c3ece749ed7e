"""Ranks of a `torch.distributed` job: rank 0 searches, and all ranks train each run together.

torchrun starts a script once per rank. If each rank searched, each would train other rates. Here
rank 0 runs the search and broadcasts every run; the other ranks call the same function with the
same run until rank 0 broadcasts the result. A reported loss is replaced by its mean over the
ranks, so that all ranks end a diverged run at the same step and none waits for another.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from lrsearch.codec import decode, encode
from lrsearch.contract import Objective, Runs
from lrsearch.errors import NothingFinished, RequestError, SearchFailed
from lrsearch.objectives.function import FunctionObjective
from lrsearch.outcome import Outcome
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.schedule import Budget

#: Time that a rank waits for other ranks to report the same step, as long as NCCL's default.
REPORT = timedelta(minutes=10)
#: Seconds that a rank whose function has failed waits for the others. They may wait for it in a
#: collective operation that it will never join.
GRACE = 60.0
#: Seconds between two looks at the store: the first two, and the last ones.
FIRST_LOOK, LAST_LOOK = 0.0005, 0.05

#: Errors of rank 0 that the other ranks raise too.
ERRORS = {error.__name__: error for error in (RequestError, SearchFailed, NothingFinished)}


def rank_here() -> int:
    """Return the rank of this process; 0 if it is the only one."""
    return int(os.environ["RANK"]) if several_ranks() else 0


def several_ranks() -> bool:
    """Return whether this process is one of several ranks, as torchrun starts them."""
    return "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def check_ranks(objective: Objective) -> None:
    """Check whether several ranks can train an objective together.

    Raises:
        RequestError: they cannot; the message says why and what to do.
    """
    if not several_ranks():
        return
    started = f"torchrun has started {os.environ['WORLD_SIZE']} processes"
    if not isinstance(objective, FunctionObjective):
        raise RequestError(
            f"{started}, but only a function can be trained by several processes together; start "
            f"the search of {objective.setup.name} without torchrun, and leave out "
            "`trial_timeout=`; `workers=` uses several GPUs"
        )
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise RequestError(
            f"{started}, which are not connected; call torch.distributed.init_process_group at "
            "the top of the file, before the search"
        )


class RankLost(SearchFailed):
    """A rank has ended, or waits for another one forever."""


class Ranks:
    """The ranks of a job. They exchange losses in a group, and all other messages in a store.

    The store is polled, so that a rank that waits can be interrupted, and can give up on a rank
    that will never answer. Messages are JSON.

    Args:
        objective: the function that all ranks call.
    """

    def __init__(self, objective: FunctionObjective) -> None:
        import torch.distributed as torch
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self.setup = objective.setup
        self._objective, self._torch = objective, torch
        self._rank, self._size = torch.get_rank(), torch.get_world_size()
        self._group = torch.new_group(backend="gloo", timeout=REPORT)
        host, port = os.environ["MASTER_ADDR"], [0]
        if not self._rank:
            self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
            port = [self._store.port]
        torch.broadcast_object_list(port, src=0, group=self._group)
        if self._rank:
            self._store = TCPStore(host, port[0], is_master=False)
        self._sent = 0

    def search(self, search: Callable[[Objective], Result]) -> Result:
        """Search on rank 0, and train its runs on all ranks; return the result on all ranks.

        Args:
            search: function that searches with an objective; only rank 0 calls it.

        Raises:
            LrsearchError: the search failed; every rank that can still be reached raises it.
        """
        if self._rank:
            return self._follow()
        try:
            result = search(self)
        except RankLost:
            raise
        except tuple(ERRORS.values()) as error:
            self._send("error", [type(error).__name__, str(error), error.details])
            self._leave()
            raise
        self._send("result", encode(result))
        self._leave()
        return result

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Evaluate runs one by one, each on all ranks."""
        while taken := runs.take(1):
            self._send("run", encode(taken[0]))
            yield self._train(self._objective, taken[0])

    def optimum(self, budget: Budget) -> float | None:
        """Return the optimum of the objective."""
        return self._objective.optimum(budget)

    def _follow(self) -> Result:
        """Train the runs of rank 0 until it sends the result."""
        function = self._objective.function

        def train(run: Run) -> float:
            function(run)
            return 0.0  # the value of rank 0 counts

        silent = FunctionObjective(train, self.setup)
        while True:
            self._sent += 1
            kind, content = self._wait(f"message {self._sent}")
            if kind == "run":
                self._train(silent, decode(Run, content))
                continue
            self._leave()
            if kind == "error":
                name, message, details = content
                raise ERRORS[name](message, details)
            found: Result = decode(Result, content)
            return found

    def _train(self, objective: FunctionObjective, run: Run) -> Outcome:
        """Call the function, wait for the other ranks, and return the outcome of them all.

        Raises:
            RankLost: a rank has ended, or cannot end this run.
        """
        run.average_reports(self._average)
        outcome = objective.answer(run)
        failed = outcome.state == "failed"
        self._put(f"end {self._sent} {self._rank}", [failed, outcome.reason, outcome.details])
        ends: list[list[Any]] = []
        for rank in range(self._size):
            try:
                ends.append(self._wait(f"end {self._sent} {rank}", GRACE if failed else None))
            except TimeoutError as error:
                raise RankLost(
                    f"trial {run.trial} failed on rank {self._rank} ({outcome.reason}), and rank "
                    f"{rank} did not end it within {GRACE:g} s; all earlier trials are saved; fix "
                    "the error and run the same command again",
                    outcome.details,
                ) from error
        for rank, (failed, reason, details) in enumerate(ends):
            if failed:
                return run.end("failed", reason=f"rank {rank}: {reason}", details=details)
        return outcome

    def _average(self, t: int, loss: float) -> float:
        """Return the mean of a loss over all ranks, which report the same step."""
        import torch

        own = torch.tensor([t, loss], dtype=torch.float64)
        seen = [torch.empty_like(own) for _ in range(self._size)]
        try:
            self._torch.all_gather(seen, own, self._group)
        except RuntimeError as error:
            raise RuntimeError(
                f"step {t} was not reported by every rank; call run.report on all ranks, or on "
                f"none ({error})"
            ) from error
        steps = {int(row[0]) for row in seen}
        if len(steps) > 1:
            raise RequestError(
                f"the ranks report different steps ({', '.join(map(str, sorted(steps)))}); call "
                "run.report on all ranks for the same steps"
            )
        losses = [float(row[1]) for row in seen]
        return math.fsum(losses) / self._size if all(map(math.isfinite, losses)) else math.nan

    def _send(self, kind: str, content: Any) -> None:
        """Send a message to the other ranks, which have all received the one before the last."""
        self._sent += 1
        self._put(f"message {self._sent}", [kind, content])
        self._store.delete_key(f"message {self._sent - 2}")
        for rank in range(self._size):
            self._store.delete_key(f"end {self._sent - 2} {rank}")

    def _leave(self) -> None:
        """Close the connections when all ranks have received the last message."""
        self._put(f"left {self._rank}", True)
        if not self._rank:  # the store ends with rank 0
            with suppress(TimeoutError):  # the result is complete without that rank
                for rank in range(self._size):
                    self._wait(f"left {rank}", GRACE)
        self._torch.destroy_process_group(self._group)

    def _put(self, key: str, message: Any) -> None:
        self._store.set(key, json.dumps(message))

    def _wait(self, key: str, seconds: float | None = None) -> Any:
        """Return a message when it arrives.

        Raises:
            TimeoutError: it did not arrive in time.
            RankLost: rank 0 has ended.
        """
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        pause = FIRST_LOOK
        try:
            while not self._store.check([key]):
                if time.monotonic() > deadline:
                    raise TimeoutError(key)
                time.sleep(pause)
                pause = min(2 * pause, LAST_LOOK)
            return json.loads(self._store.get(key))
        except self._torch.DistError as error:
            raise RankLost(f"rank 0 has ended; see its output ({error})") from error


def search_ranks(objective: Objective, search: Callable[[Objective], Result]) -> Result:
    """Search in this process, or with all ranks of its job if there are several.

    Args:
        objective: the objective, which `check_ranks` has accepted.
        search: function that searches with an objective.
    """
    if several_ranks() and isinstance(objective, FunctionObjective):
        return Ranks(objective).search(search)
    return search(objective)
