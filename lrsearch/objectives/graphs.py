"""An update captured as a CUDA graph: one launch instead of some hundred.

Small models on a GPU are bound by launches, not by arithmetic. A step that has been seen a few
times is captured and replayed from then on. The first capture is held against the same step
launched operation by operation, and given up if the two differ; so is whatever cannot be captured.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from lrsearch.objectives.devices import is_out_of_memory

__all__ = ["Capture", "Replay", "capture"]

Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]

#: How often a step is launched operation by operation first, unless told otherwise, and how many
#: graphs are kept.
WARM_UP, KEPT = 12, 64
#: How far a replayed step may lie from the launched one: other kernels may sum in another order.
RELATIVE, ABSOLUTE = 1e-4, 1e-5

log = logging.getLogger("lrsearch")


def capture(
    step: Callable[[], Tensor], *, pool: Any = None
) -> tuple[Callable[[], object], Tensor]:
    """Records the launches of a step without doing it; what does it, and where its result will be.

    Args:
        step: what is recorded.
        pool: of memory, which graphs share that are replayed one after another; see
            `torch.cuda.graph_pool_handle`.

    Raises:
        RuntimeError: it looks at its data, or allocates in a way that no graph can hold.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = step()
    return graph.replay, result


class Replay:
    """Runs steps, as graphs where that is possible.

    Args:
        capture: records a step; None calls every step as it is, as on a CPU.
        what: the steps are, for people.
        warm_up: how often a step is launched first.
        agreement: which part of the numbers that it returns and writes must agree with those of a
            launch; less than all where rounding is amplified.

    Attributes:
        enabled: whether steps are captured.
    """

    def __init__(
        self,
        capture: Capture | None,
        what: str = "updates are",
        warm_up: int = WARM_UP,
        agreement: float = 1.0,
    ) -> None:
        self.enabled = capture is not None
        self._record, self._what, self._warm_up = capture, what, warm_up
        self._agreement = agreement
        self._graphs: dict[Hashable, tuple[Callable[[], object], Tensor]] = {}
        self._seen: Counter[Hashable] = Counter()
        self._checked = False

    def forget(self) -> None:
        """Drops every graph: the tensors that they read and write have moved."""
        self._graphs.clear()
        self._seen.clear()

    def run(
        self, key: Hashable, step: Callable[[], Tensor], state: Callable[[], Sequence[Tensor]]
    ) -> Tensor:
        """Does a step and returns its result.

        Args:
            key: of steps that launch the same operations on the same tensors.
            step: reads and writes tensors that stay where they are, and returns a new one.
            state: the tensors that it writes.
        """
        if not self.enabled or self._record is None:
            return step()
        if key in self._graphs:
            replay, result = self._graphs[key]
            replay()
            return result.clone()
        self._seen[key] += 1
        if self._seen[key] <= self._warm_up or len(self._graphs) >= KEPT:
            return step()
        try:
            return self._capture(key, self._record(step), step, state())
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._give_up(" ".join(str(error).split())[:160])
            return step()

    def _capture(
        self,
        key: Hashable,
        captured: tuple[Callable[[], object], Tensor],
        step: Callable[[], Tensor],
        state: Sequence[Tensor],
    ) -> Tensor:
        """Does a step that has just been captured, and keeps it if it is right."""
        replay, result = captured
        if not self._checked:
            before = [tensor.clone() for tensor in state]
            expected = step().clone()
            launched = [tensor.clone() for tensor in state]
            _write(state, before)
            replay()
            pairs = [(result, expected), *zip(state, launched, strict=True)]
            if not all(_agreement(*pair) >= self._agreement for pair in pairs):
                _write(state, launched)
                self._give_up("a replay differs from a launch")
                return expected
            self._checked = True
        else:
            replay()
        self._graphs[key] = (replay, result)
        return result.clone()

    def _give_up(self, reason: str) -> None:
        self.enabled = False
        self.forget()
        log.warning("%s not captured as a CUDA graph: %s", self._what, reason)


def _write(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _agreement(a: Tensor, b: Tensor) -> float:
    """The part of the numbers that are about the same."""
    if not a.numel():
        return 1.0
    same = torch.isclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    return float(same.double().mean())
