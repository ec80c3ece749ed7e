"""Launches captured as a CUDA graph: one launch instead of some hundred.

Small models on a GPU are bound by launches, not by arithmetic. A step (an update, a validation, a
look at the landscape) that has been seen a few times is captured and replayed from then on. Every
capture is held against the same step launched operation by operation, and given up with all others
if the two differ; so is whatever cannot be captured.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from lrsearch.errors import log
from lrsearch.training.devices import is_out_of_memory

N = TypeVar("N")
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]

#: How often a step is launched operation by operation first, unless told otherwise, and how many
#: graphs are kept.
WARM_UP, KEPT_GRAPHS = 12, 64
#: How far a replayed step may lie from the launched one: other kernels may sum in another order.
RELATIVE, ABSOLUTE = 1e-4, 1e-5


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether all numbers are the same but for rounding."""
    return torch.allclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)


def power_of_two(number: int) -> int:
    """The least that is no less: with such sizes a few graphs serve all."""
    return 1 << (number - 1).bit_length()


def fill_up(numbers: Sequence[N], size: int) -> list[N]:
    """As many, the last repeated: what is computed for it again is what it was."""
    return [*numbers, *[numbers[-1]] * (size - len(numbers))]


class Recorder:
    """Captures steps into graphs that share their memory.

    They may: one at a time is replayed, and what it returns is copied before the next one is.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._anchor: torch.cuda.CUDAGraph | None = None
        self._works = True

    def __call__(self, step: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """Records the launches of a step without doing it.

        Returns:
            what does it, and where its result will be.

        Raises:
            RuntimeError: it looks at its data, or allocates in a way that no graph can hold; or
                an earlier step did.
        """
        if not self._works:
            raise RuntimeError("an earlier capture has failed")
        try:
            if self._anchor is None:
                self._pool = torch.cuda.graph_pool_handle()
                # The pool ends with its last graph; one that does nothing keeps it.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._anchor = self._capture(lambda: None)[0]
            graph, result = self._capture(step)
        except RuntimeError as error:
            # What a failed capture leaves of the allocator's state is not to be relied upon.
            self._works = is_out_of_memory(error)
            raise
        return graph.replay, result

    def _capture(self, step: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                result = step()
        finally:
            torch.cuda.set_stream(stream)  # where a capture that fails does not return to
        return graph, result


class Replay:
    """Runs steps, as graphs where that is possible.

    Args:
        record: records a step, as `Recorder`; None calls every step as it is, as on a CPU.
        what: the steps are, for people.
        warm_up: how often a step is launched first.

    Attributes:
        enabled: whether steps are captured.
    """

    def __init__(
        self, record: Capture | None, what: str = "updates are", warm_up: int = WARM_UP
    ) -> None:
        self.enabled = record is not None
        self._record, self._what, self._warm_up = record, what, warm_up
        self.forget()

    def forget(self) -> None:
        """Drops every graph: the tensors that they read and write have moved."""
        self._graphs: dict[Hashable, tuple[Callable[[], object], Tensor]] = {}
        self._seen: Counter[Hashable] = Counter()
        self._too_large: set[Hashable] = set()

    def run(
        self,
        key: Hashable,
        step: Callable[[], Tensor],
        state: Callable[[], Sequence[Tensor]],
        same: Callable[[Tensor, Tensor], bool] = alike,
    ) -> Tensor:
        """Does a step and returns its result.

        Args:
            key: of steps that launch the same operations on the same tensors.
            step: reads and writes tensors that stay where they are, and returns a new one.
            state: the tensors that it writes.
            same: whether a replay's result is a launch's.
        """
        if not self.enabled or self._record is None:
            return step()
        if key in self._graphs:
            replay, result = self._graphs[key]
            replay()
            return result.clone()
        self._seen[key] += 1
        full = len(self._graphs) >= KEPT_GRAPHS or key in self._too_large
        if self._seen[key] <= self._warm_up or full:
            return step()
        try:
            captured = self._record(step)
            # Copies of the state, made here: what follows needs no memory but the step's own.
            spare = [[tensor.clone() for tensor in state()] for _ in range(2)]
        except RuntimeError as error:
            if is_out_of_memory(error):
                # The step itself may fit, without room for a graph's own.
                self._too_large.add(key)
            else:
                self._give_up(" ".join(str(error).split())[:160])
            return step()
        return self._check(key, captured, step, state(), spare, same)

    def _check(
        self,
        key: Hashable,
        captured: tuple[Callable[[], object], Tensor],
        step: Callable[[], Tensor],
        state: Sequence[Tensor],
        spare: Sequence[Sequence[Tensor]],
        same: Callable[[Tensor, Tensor], bool],
    ) -> Tensor:
        """Does a step that has just been captured, and keeps the graph if it is right."""
        (replay, result), (before, launched) = captured, spare
        expected = step().clone()
        _write(launched, state)
        _write(state, before)
        replay()
        written = all(alike(mine, theirs) for mine, theirs in zip(state, launched, strict=True))
        if not written or not same(result, expected):
            _write(state, launched)
            self._give_up("a replay differs from a launch")
            return expected
        self._graphs[key] = (replay, result)
        return result.clone()

    def _give_up(self, reason: str) -> None:
        self.enabled = False
        self.forget()
        log.warning("%s not captured as a CUDA graph: %s", self._what, reason)


def _write(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
