"""Norms of gradients, updates and the way from the start, for the runs of a step that are due."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrsearch.stacked import flatten

#: The columns of `NormTable.norms`: curves by these names.
NORMS = ("gradient_norm", "update_norm", "deviation")


def norms(before: Tensor, after: Tensor, gradients: Tensor, start: Tensor) -> Tensor:
    """Norms of A updates, shape `[A, 3]`, the columns as in `NORMS`; arguments `[A, P]`."""
    columns = [gradients, after - before, after - start]
    return torch.stack([column.norm(dim=1) for column in columns], 1).double()


def name_norms(row: Sequence[float]) -> dict[str, float]:
    """Return a row of `norms` by the names of its columns."""
    return dict(zip(NORMS, row, strict=True))


class NormTable:
    """What a population keeps of its members' norms.

    Args:
        slots: K.
        device: where.

    Attributes:
        norms: of the latest update that was watched, a row a slot, the columns as in `NORMS`.
        start: which initial parameters a slot's run has, shape `[K]`.
    """

    def __init__(self, slots: int, device: torch.device) -> None:
        self.norms = torch.zeros(slots, len(NORMS), dtype=torch.float64, device=device)
        self.start = torch.zeros(slots, dtype=torch.int64, device=device)
        self._seeds: dict[int, int] = {}
        self._starts = torch.empty(0, 0, device=device)

    def admit(self, rows: slice, seeds: Sequence[int], starts: Sequence[Sequence[Tensor]]) -> bool:
        """Takes runs in; whether the table of starts has moved in memory.

        Args:
            rows: their slots.
            seeds: one a run.
            starts: their initial parameters.
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
        """Keeps the norms of some runs of a step.

        Args:
            rows: the slots that the step is of.
            watched: which of them.
            before: their parameters before it, shape `[A, P]`.
            after: and after it.
            gradients: of the step, likewise.
        """
        start = self._starts[self.start[rows][watched]]
        kept = self.norms[rows]
        kept[watched] = norms(before, after, gradients, start)
        self.norms[rows] = kept
