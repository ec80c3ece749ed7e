"""Which samples a run sees at each update: a function of its seed and of the update alone.

Two schedules with one seed see the same data in the same order, and a batch that grows draws from
the same stream, so the difference between schedules is paired (common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from lrsearch.seeding import ORDER, stream


def sample_order(
    seed: int, samples: int, budget: int, *, independent: int | None = None
) -> np.ndarray:
    """The indices that a run with this seed sees, shape `[budget]`.

    Args:
        seed: of the run.
        samples: how many there are.
        budget: how many the run sees.
        independent: a batch size; every so many are drawn afresh, distinct among themselves. None
            is one shuffle an epoch.
    """
    if independent is not None:
        blocks = -(-budget // independent)
        keys = stream(seed, ORDER).random((blocks, samples))
        return np.argpartition(keys, independent - 1, axis=1)[:, :independent].ravel()[:budget]
    epochs = -(-budget // samples)
    shuffles = [stream(seed, ORDER, epoch).permutation(samples) for epoch in range(epochs)]
    return np.concatenate(shuffles)[:budget]


def collate(data: Any, index: Sequence[int]) -> tuple[Tensor, ...]:
    """Some samples of a map-style dataset as one batch, the parts of a sample side by side."""
    batch = default_collate([data[i] for i in index])
    return tuple(batch) if isinstance(batch, list | tuple) else (batch,)


class TrainingData:
    """The training data on a device, and the order of every seed in use.

    Args:
        data: tensors whose first axis is the sample, or a map-style dataset.
        device: where batches are wanted.
        independent: whether every batch is drawn afresh.

    Attributes:
        version: raised whenever the table of orders moves in memory.
    """

    def __init__(self, data: Any, device: torch.device, *, independent: bool = False) -> None:
        self._independent = independent
        self._tensors = isinstance(data, tuple)
        self._data = tuple(t.to(device) for t in data) if self._tensors else data
        self._samples = len(self._data[0]) if self._tensors else len(data)
        self._device = device
        self.version = 0
        self._orders: dict[int, int] = {}
        self._table = torch.empty(0, 0, dtype=torch.int64, device=device)

    def row(self, seed: int, budget: int, batch: int) -> int:
        """The row of a seed's order in the table, which is made where there is none.

        Args:
            seed: of a run.
            budget: the samples that the run will see.
            batch: of its first update.
        """
        independent = min(batch, self._samples) if self._independent else None
        if seed not in self._orders or budget > self._table.shape[1]:
            orders = {**self._orders, seed: self._orders.get(seed, len(self._orders))}
            longest = max(budget, self._table.shape[1])
            rows = [
                sample_order(s, self._samples, longest, independent=independent) for s in orders
            ]
            self._table = torch.from_numpy(np.stack(rows)).to(self._device)
            self._orders = orders  # last: whatever fails above leaves all as it was
            self.version += 1
        return self._orders[seed]

    def take(self, rows: Tensor, begin: Tensor, width: int) -> Any:
        """Batches of shape `[A, width, ...]`.

        Args:
            rows: of the seeds' orders, shape `[A]`.
            begin: samples seen before, shape `[A]`.
            width: samples a batch; positions beyond the order's end repeat its last sample.
        """
        place = begin[:, None] + torch.arange(width, device=self._device)
        index = self._table[rows[:, None], place.clamp_(max=self._table.shape[1] - 1)]
        if self._tensors:
            return tuple(t[index] for t in self._data)
        batches = [collate(self._data, row) for row in index.tolist()]
        return tuple(torch.stack(p).to(self._device) for p in zip(*batches, strict=True))
