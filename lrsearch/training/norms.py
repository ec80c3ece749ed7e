"""Norms of gradients, of updates, and of the distance from the initial parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrsearch.stacked import flatten

#: The columns of `NormTable.norms`, which are also names of curves.
NORMS = ("gradient_norm", "update_norm", "deviation")


def norms(before: Tensor, after: Tensor, gradients: Tensor, start: Tensor) -> Tensor:
    """Compute the norms of A updates.

    Args:
        before: parameters before the update, shape `[A, P]`.
        after: parameters after the update, shape `[A, P]`.
        gradients: gradients of the update, shape `[A, P]`.
        start: initial parameters, shape `[A, P]`.

    Returns:
        The norms, shape `[A, 3]`, with the columns of `NORMS`.
    """
    columns = [gradients, after - before, after - start]
    return torch.stack([column.norm(dim=1) for column in columns], 1).double()


def name_norms(row: Sequence[float]) -> dict[str, float]:
    """Return one row of `norms` as a mapping from the names of its columns."""
    return dict(zip(NORMS, row, strict=True))


class NormTable:
    """The latest norms of every slot of a population, and the initial parameters they need.

    Args:
        slots: K, the number of slots.
        device: device of the tensors.

    Attributes:
        norms: norms of each slot's latest watched update, shape `[K, 3]`, with the columns of
            `NORMS`.
        start: index of the initial parameters of each slot's run, shape `[K]`.
    """

    def __init__(self, slots: int, device: torch.device) -> None:
        self.norms = torch.zeros(slots, len(NORMS), dtype=torch.float64, device=device)
        self.start = torch.zeros(slots, dtype=torch.int64, device=device)
        self._seeds: dict[int, int] = {}
        self._starts = torch.empty(0, 0, device=device)

    def admit(self, rows: slice, seeds: Sequence[int], starts: Sequence[Sequence[Tensor]]) -> bool:
        """Add runs; return True if the table of initial parameters has moved in memory.

        Args:
            rows: slots of the runs.
            seeds: seed of each run.
            starts: initial parameters of each run.
        """
        known = len(self._seeds)
        for seed, start in zip(seeds, starts, strict=True):
            if seed not in self._seeds:
                flat = flatten([value[None] for value in start])
                self._starts = torch.cat([self._starts.reshape(-1, flat.shape[1]).to(flat), flat])
                self._seeds[seed] = len(self._seeds)
        self.start[rows] = torch.tensor([self._seeds[s] for s in seeds], device=self.start.device)
        return len(self._seeds) > known

    def write(
        self,
        rows: Tensor | slice,
        watched: Tensor | slice,
        before: Tensor,
        after: Tensor,
        gradients: Tensor,
    ) -> None:
        """Store the norms of the watched runs of a step.

        Args:
            rows: slots that the step updates.
            watched: indices into `rows`: the A runs whose norms are stored.
            before: parameters of the A runs before the step, shape `[A, P]`.
            after: parameters after the step, shape `[A, P]`.
            gradients: gradients of the step, shape `[A, P]`.
        """
        start = self._starts[self.start[rows][watched]]
        kept = self.norms[rows]
        kept[watched] = norms(before, after, gradients, start)
        self.norms[rows] = kept
