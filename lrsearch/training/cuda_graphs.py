"""CUDA graphs: one launch in place of some hundred kernel launches.

Small models on a GPU are bound by kernel launches, not by arithmetic. A function (a training step,
a validation, a measurement of the landscape) is run eagerly a few times, then captured as a graph
and replayed from then on. The first replay of each graph is compared with an eager run. If the two
differ, all further calls are eager; also if a capture fails, except for a lack of memory.
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

#: Default number of eager runs before a function is captured, and largest number of graphs kept.
WARM_UP, KEPT_GRAPHS = 12, 64
#: Tolerances between a replay and an eager run, whose kernels may sum in another order.
RELATIVE, ABSOLUTE = 1e-4, 1e-5


def alike(a: Tensor, b: Tensor) -> bool:
    """Return True if all numbers are equal up to rounding."""
    return torch.allclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not less; such sizes keep the graphs few."""
    return 1 << (number - 1).bit_length()


def fill_up(numbers: Sequence[N], size: int) -> list[N]:
    """Pad to `size` by repeating the last element; padded rows recompute a known result."""
    return [*numbers, *[numbers[-1]] * (size - len(numbers))]


class Recorder:
    """Captures functions as graphs that share one memory pool.

    Sharing is safe because graphs are replayed one at a time, and each result is copied before the
    next replay.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._anchor: torch.cuda.CUDAGraph | None = None
        self._works = True

    def __call__(self, step: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """Capture the kernel launches of a function without running them.

        Returns:
            A function that replays the graph, and the tensor that will hold the result.

        Raises:
            RuntimeError: the function cannot be captured, for example because it reads a value on
                the host; or an earlier capture failed.
        """
        if not self._works:
            raise RuntimeError("an earlier capture failed")
        try:
            if self._anchor is None:
                self._pool = torch.cuda.graph_pool_handle()
                # The pool is freed with its last graph, so keep an empty graph.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._anchor = self._capture(lambda: None)[0]
            graph, result = self._capture(step)
        except RuntimeError as error:
            # A failed capture leaves the allocator in an undefined state, so capture no more.
            self._works = is_out_of_memory(error)
            raise
        return graph.replay, result

    def _capture(self, step: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                result = step()
        finally:
            torch.cuda.set_stream(stream)  # a failed capture does not restore it
        return graph, result


class Replay:
    """Runs functions, as graphs if that is possible.

    Args:
        record: function that captures, such as a `Recorder`; None runs everything eagerly, as on
            a CPU.
        what: subject and verb of the warning that graphs are not used, such as "validation is".
        warm_up: number of eager runs of a function before it is captured.

    Attributes:
        enabled: True while functions are captured.
    """

    def __init__(
        self, record: Capture | None, what: str = "training steps are", warm_up: int = WARM_UP
    ) -> None:
        self.enabled = record is not None
        self._record, self._what, self._warm_up = record, what, warm_up
        self.forget()

    def forget(self) -> None:
        """Drop all graphs, for example because tensors that they use have moved in memory."""
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
        """Run a function and return its result.

        Args:
            key: identifies functions that launch the same kernels on the same tensors.
            step: function to run. The tensors that it reads and writes must not move in memory;
                its result must be a new tensor.
            state: function that returns the tensors that `step` writes.
            same: function that compares a replay's result with that of an eager run.
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
            # Copied here, so that `_check` needs no further memory except that of the step.
            spare = [[tensor.clone() for tensor in state()] for _ in range(2)]
        except RuntimeError as error:
            if is_out_of_memory(error):
                # The memory may suffice for the step, but not for a graph of it.
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
        """Run a function that has just been captured, and keep the graph if it is correct."""
        (replay, result), (before, launched) = captured, spare
        expected = step().clone()
        _write(launched, state)
        _write(state, before)
        replay()
        written = all(alike(mine, theirs) for mine, theirs in zip(state, launched, strict=True))
        if not written or not same(result, expected):
            _write(state, launched)
            self._give_up("a replay differs from an eager run")
            return expected
        self._graphs[key] = (replay, result)
        return result.clone()

    def _give_up(self, reason: str) -> None:
        self.enabled = False
        self.forget()
        log.warning("%s run without CUDA graphs, which is slower: %s", self._what, reason)


def _write(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
