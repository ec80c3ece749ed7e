"""Several workers as one objective: each worker pulls the runs that it can start.

A worker is a process on this machine or on a cluster. A function trains one run at a time in it, a
task a population. A worker that dies is replaced and its runs are repeated. A run that kills
several workers fails, and so does a run that takes too long.
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
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.run import Run
from lrsearch.schedule import Budget

#: Seconds after the time limit of a run until its worker is ended; the run also checks its limit.
GRACE = 1.0
#: Seconds between two attempts to get runs for a worker that waits.
LOOK = 0.5


class WorkerHandle(Protocol):
    """A handle of a worker, used by its pool."""

    def give(self, runs: list[dict[str, Any]]) -> None:
        """Send the runs that the worker has asked for."""
        ...

    def close(self, *, dying: bool = False) -> str:
        """End the worker and all processes that it has started.

        Args:
            dying: True if the worker is ending by itself, so that its own exit code is reported.

        Returns:
            How it ended, as text.
        """
        ...


#: Messages of workers: `{"room": N}` requests N runs, None reports that the worker has ended, and
#: every other object is an outcome.
Inbox = queue.SimpleQueue[tuple[WorkerHandle, dict[str, Any] | None]]
#: A function that starts a worker, from its order, its number and the inbox of its messages.
Start = Callable[[dict[str, Any], int, Inbox], WorkerHandle]


class WorkerPool:
    """An objective that is evaluated by workers.

    Args:
        given: the objective as the user gave it, a name or an object.
        inner: the objective in this process, which has its setup.
        order: description of the objective for the workers.
        start: function that starts a worker.
        dismiss: function that is called when all workers have ended.
        count: number of workers.
        retries: number of times that a run is repeated after its worker has died.
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
        """Keep every worker busy, and yield outcomes when they arrive."""
        order = {**self._order, "slots": runs.slots, "level": runs.probes.level}
        pool_run = _PoolRun(
            lambda i, inbox: self._start(order, i, inbox),
            self._count,
            slots=runs.slots,
            retries=self._retries,
        )
        try:
            yield from pool_run.work(runs, alone=runs.slots == 1)
        finally:
            pool_run.close()
            self._dismiss()

    def optimum(self, budget: Budget) -> float | None:
        """Return the optimum of the objective."""
        return self.inner.optimum(budget)


class TaskPool(WorkerPool):
    """A pool that trains a task; each worker trains a population."""

    def fit(self, most: int, budget: Budget, *, thorough: bool) -> int:
        """Return the number of slots of each worker; see `lrsearch.contract.Elastic`."""
        share = max(1, most // self._count)
        return cast(Elastic, self.inner).fit(share, budget, thorough=thorough)

    def save_model(self, plan: Plan, seed: int, folder: Path) -> dict[str, str]:
        """Train a plan and save its model; see `lrsearch.contract.KeepsModel`."""
        return cast(KeepsModel, self.inner).save_model(plan, seed, folder)


@dataclasses.dataclass(eq=False)
class _Seat:
    """A place for a worker, with the runs in flight there.

    Attributes:
        number: number of the place.
        slots: largest number of runs in flight.
        handle: the worker.
        runs: its runs in flight, by trial and replicate.
        asked: number of runs that it waits for.
        since: time when it last got runs, by the monotonic clock.
        heard: True if it has sent a message.
    """

    number: int
    slots: int
    handle: WorkerHandle
    runs: dict[tuple[int, int], Run] = dataclasses.field(default_factory=dict)
    asked: int = 0
    since: float = 0.0
    heard: bool = False

    def receive(self, message: Any) -> Outcome | None:
        """Receive a message of the worker; return the outcome that it is, if it is one.

        Raises:
            ValueError: it is not a message of a worker, or not about one of its runs.
        """
        if isinstance(message, dict) and message.keys() == {"room"}:
            asked = decode(int, message["room"], "room")
            if not 1 <= asked <= self.slots:
                raise ValueError(f"a worker with {self.slots} slots asks for {asked} runs")
            self.asked = asked
            return None
        outcome: Outcome = decode(Outcome, message, "outcome")
        if self.runs.pop((outcome.trial, outcome.replicate), None) is None:
            raise ValueError(f"trial {outcome.trial} does not run here")
        return outcome


class _PoolRun:
    """The workers of one evaluation, from start to end."""

    def __init__(
        self,
        start: Callable[[int, Inbox], WorkerHandle],
        count: int,
        *,
        slots: int,
        retries: int,
    ) -> None:
        self._start, self._slots, self._retries = start, slots, retries
        self._inbox: Inbox = queue.SimpleQueue()
        self._seats = {i: self._seat(i) for i in range(count)}
        self._again: list[Run] = []
        self._mute = 0  # workers in a row that died without a message

    def work(self, runs: Runs, *, alone: bool) -> Iterator[Outcome]:
        """Train runs until there are no more, and yield their outcomes.

        Args:
            runs: the source of the runs.
            alone: True if a worker has one run at a time and is ended at its time limit.
        """
        while not self._feed(runs):
            seat, message = self._listen(alone=alone)
            if seat is None:
                continue
            if message is None:
                yield from self._replace(seat, late=alone and self._is_late(seat))
                continue
            try:
                outcome = seat.receive(message)
            except ValueError:  # the user's code has written to the pipe
                yield from self._replace(seat, unreadable=True)
                continue
            seat.heard, self._mute = True, 0
            if outcome is not None:
                yield outcome

    def close(self) -> None:
        """End all workers."""
        for seat in self._seats.values():
            seat.handle.close()

    def _feed(self, runs: Runs) -> bool:
        """Send runs to workers that wait; return True if none are left and none are in flight."""
        for seat in self._seats.values():
            if not seat.asked:
                continue
            given, self._again = self._again[: seat.asked], self._again[seat.asked :]
            given += runs.take(seat.asked - len(given))
            if not given and not any(p.runs for p in self._seats.values()):
                return True
            if given or seat.runs:  # an idle worker keeps waiting
                seat.asked, seat.since = 0, time.monotonic()
                seat.runs |= {(run.trial, run.replicate): run for run in given}
                seat.handle.give([encode(run) for run in given])
        return False

    def _listen(self, *, alone: bool) -> tuple[_Seat | None, dict[str, Any] | None]:
        """Return the next message and the seat that sent it; None for both after a timeout."""
        left = min(map(self._end, self._seats.values())) if alone else math.inf
        wait = max(0.0, left - time.monotonic())
        if any(seat.asked for seat in self._seats.values()):
            wait = min(wait, LOOK)  # another process may end a trial, so that a run can start
        try:
            handle, message = self._inbox.get(timeout=None if math.isinf(wait) else wait)
        except queue.Empty:
            late = (seat for seat in self._seats.values() if alone and self._is_late(seat))
            return next(late, None), None
        # Messages of a worker that has been replaced are ignored.
        return next((p for p in self._seats.values() if p.handle is handle), None), message

    def _seat(self, number: int) -> _Seat:
        return _Seat(number, self._slots, self._start(number, self._inbox))

    def _end(self, seat: _Seat) -> float:
        """Return the time at which a worker's run must have ended (monotonic clock)."""
        limits = [run.limit for run in seat.runs.values() if run.limit is not None]
        return seat.since + min(limits) + GRACE if limits else math.inf

    def _is_late(self, seat: _Seat) -> bool:
        return time.monotonic() >= self._end(seat)

    def _replace(
        self, seat: _Seat, *, late: bool = False, unreadable: bool = False
    ) -> Iterator[Outcome]:
        """Replace a worker that is dead or unreadable, or whose run takes too long."""
        how = seat.handle.close(dying=not late and not unreadable)
        if unreadable:
            how = "a message that is not one of lrsearch"
        if not seat.heard:
            self._mute += 1
            if self._mute > self._retries + len(self._seats):
                raise SearchFailed(
                    f"workers die before they ask for a run, the last with {how}; see their "
                    "output above, or try the objective in this process with `workers=1`"
                )
        self._seats[seat.number] = self._seat(seat.number)
        for run in seat.runs.values():
            if late:
                yield run.end(
                    "failed", reason=f"it took longer than {run.limit:g} s and was ended"
                )
            elif run.retries < self._retries:
                run.retries += 1
                self._again.append(run)
            else:
                times = f"{run.retries + 1} times, the last" if run.retries else "once,"
                yield run.end("failed", reason=f"its process died {times} with {how}")
