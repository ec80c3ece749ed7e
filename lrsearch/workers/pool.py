"""Several workers as one objective: each asks for as many runs as it has room for.

A worker is a process here or on a cluster, in which a function trains one run at a time or a task
a whole population. One that dies is replaced and what it was at begun again; a run that kills
several is a failed one, as is one that takes too long.
"""

from __future__ import annotations

import dataclasses
import math
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from lrsearch.codec import decode, encode
from lrsearch.contract import Elastic, KeepsModel, Objective, Runs
from lrsearch.errors import SearchFailed
from lrsearch.plan import Plan
from lrsearch.result import Outcome
from lrsearch.run import Run
from lrsearch.schedule import Budget

#: Seconds after its time is up at which a run is no longer waited for: it has its own clock too.
GRACE = 1.0
#: Seconds between two looks at what has become possible, while a worker has room.
LOOK = 0.5


class WorkerHandle(Protocol):
    """A worker, as its pool sees it."""

    def give(self, runs: list[dict[str, Any]]) -> None:
        """Answers its question for runs."""
        ...

    def close(self, *, dying: bool = False) -> str:
        """Ends it and whatever it has started; how it ended, for people.

        Args:
            dying: it is about to end by itself, and its own end is wanted.
        """
        ...


#: What workers say: `{"room": N}` asks for runs, other objects are outcomes, None comes last.
Inbox = queue.SimpleQueue[tuple[WorkerHandle, dict[str, Any] | None]]
#: Starts a worker, given its order, its number and where it is to be heard.
Start = Callable[[dict[str, Any], int, Inbox], WorkerHandle]


class WorkerPool:
    """An objective whose runs are answered by workers.

    Args:
        given: what names or makes the objective.
        inner: the objective, for what it is.
        order: what every worker is told of it.
        start: starts one.
        dismiss: called when all of them have ended.
        count: how many.
        retries: how often a run is begun again after its worker has died.
    """

    def __init__(
        self,
        given: Any,
        inner: Objective,
        order: dict[str, Any],
        start: Start,
        dismiss: Callable[[], None],
        *,
        count: int,
        retries: int,
    ) -> None:
        self.setup = dataclasses.replace(inner.setup, workers=count)
        self.given, self.inner, self._order = given, inner, order
        self._start, self._dismiss = start, dismiss
        self._count, self._retries = count, retries

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Keeps every worker busy and yields outcomes as they come."""
        order = {**self._order, "slots": runs.slots, "level": runs.probes.level}
        pool_run = _PoolRun(
            lambda i, inbox: self._start(order, i, inbox), self._count, self._retries
        )
        try:
            yield from pool_run.work(runs, alone=runs.slots == 1)
        finally:
            pool_run.close()
            self._dismiss()

    def optimum(self, budget: Budget) -> float | None:
        """As the objective itself says."""
        return self.inner.optimum(budget)


class TaskPool(WorkerPool):
    """A pool that trains a task: a population each."""

    def fit(self, most: int, budget: Budget, *, thorough: bool) -> int:
        """As `lrsearch.contract.Elastic`, of each worker."""
        share = max(1, most // self._count)
        return cast(Elastic, self.inner).fit(share, budget, thorough=thorough)

    def save_model(self, plan: Plan, seed: int, folder: Path) -> dict[str, str]:
        """As `lrsearch.contract.KeepsModel`."""
        return cast(KeepsModel, self.inner).save_model(plan, seed, folder)


@dataclasses.dataclass(eq=False)
class _Seat:
    """A worker and what it is at.

    Attributes:
        asked: for how many runs it waits; 0 if it does not.
        since: when it was last given some, by the monotonic clock.
        heard: whether it has ever said anything.
    """

    number: int
    handle: WorkerHandle
    runs: dict[tuple[int, int], Run] = dataclasses.field(default_factory=dict)
    asked: int = 0
    since: float = 0.0
    heard: bool = False


class _PoolRun:
    """Workers from their start to their end."""

    def __init__(
        self, start: Callable[[int, Inbox], WorkerHandle], count: int, retries: int
    ) -> None:
        self._start, self._retries = start, retries
        self._inbox: Inbox = queue.SimpleQueue()
        self._seats = {i: _Seat(i, start(i, self._inbox)) for i in range(count)}
        self._again: list[Run] = []
        self._mute = 0  # workers that died before they said anything, since one did

    def work(self, runs: Runs, *, alone: bool) -> Iterator[Outcome]:
        """Answers runs until there are no more.

        Args:
            runs: where they come from.
            alone: whether a worker is at one run at a time, and is ended when its time is up.
        """
        while not self._feed(runs):
            seat, message = self._listen(alone=alone)
            if seat is None:
                continue
            if message is None:
                yield from self._replace(seat, late=alone and self._is_late(seat))
                continue
            seat.heard, self._mute = True, 0
            if "room" in message:
                seat.asked = message["room"]
            else:
                outcome = decode(Outcome, message)
                del seat.runs[outcome.trial, outcome.replicate]
                yield outcome

    def close(self) -> None:
        """Ends them all."""
        for seat in self._seats.values():
            seat.handle.close()

    def _feed(self, runs: Runs) -> bool:
        """Gives runs to whoever asks; whether there are no more and nobody is at any."""
        for seat in self._seats.values():
            if not seat.asked:
                continue
            given, self._again = self._again[: seat.asked], self._again[seat.asked :]
            given += runs.take(seat.asked - len(given))
            if not given and not any(p.runs for p in self._seats.values()):
                return True
            if given or seat.runs:  # who has nothing to do waits for an answer
                seat.asked, seat.since = 0, time.monotonic()
                seat.runs |= {(run.trial, run.replicate): run for run in given}
                seat.handle.give([encode(run) for run in given])
        return False

    def _listen(self, *, alone: bool) -> tuple[_Seat | None, dict[str, Any] | None]:
        """The next message and whose it is; None for both after a while without."""
        left = min(map(self._end, self._seats.values())) if alone else math.inf
        wait = max(0.0, left - time.monotonic())
        if any(seat.asked for seat in self._seats.values()):
            wait = min(wait, LOOK)  # another process may end what a new run is waiting for
        try:
            handle, message = self._inbox.get(timeout=None if math.isinf(wait) else wait)
        except queue.Empty:
            late = (seat for seat in self._seats.values() if alone and self._is_late(seat))
            return next(late, None), None
        # What a worker said that has been replaced meanwhile is of no use any more.
        return next((p for p in self._seats.values() if p.handle is handle), None), message

    def _end(self, seat: _Seat) -> float:
        """When the time of the run that a worker is at is up, by the monotonic clock."""
        limits = [run.limit for run in seat.runs.values() if run.limit is not None]
        return seat.since + min(limits) + GRACE if limits else math.inf

    def _is_late(self, seat: _Seat) -> bool:
        return time.monotonic() >= self._end(seat)

    def _replace(self, seat: _Seat, *, late: bool) -> Iterator[Outcome]:
        """Starts another worker for one that is dead, or whose run takes too long."""
        how = seat.handle.close(dying=not late)
        if not seat.heard:
            self._mute += 1
            if self._mute > self._retries + len(self._seats):
                raise SearchFailed(
                    f"workers die before they ask for a run, the last with {how}; what they said "
                    "is above, and `--workers 1` tries the objective here"
                )
        self._seats[seat.number] = _Seat(seat.number, self._start(seat.number, self._inbox))
        for run in seat.runs.values():
            if late:
                yield run.end(
                    "failed", reason=f"it took longer than {run.limit:g} s, and was ended"
                )
            elif run.retries < self._retries:
                run.retries += 1
                self._again.append(run)
            else:
                times = f"{run.retries + 1} times, the last" if run.retries else "once,"
                yield run.end("failed", reason=f"its process died {times} with {how}")
