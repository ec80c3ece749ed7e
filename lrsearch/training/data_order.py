"""The samples that a run sees at each step: a function of its seed and the step alone.

Two schedules with the same seed see the same data in the same order, and a growing batch draws
from the same stream. Differences between schedules are therefore paired (common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from lrsearch.errors import RequestError, one_line
from lrsearch.seeding import ORDER, stream


def sample_order(
    seed: int, samples: int, budget: int, *, independent: int | None = None
) -> np.ndarray:
    """Return the indices of the samples that a run with this seed sees, shape `[budget]`.

    Args:
        seed: seed of the run.
        samples: number of training samples.
        budget: number of samples that the run sees in all.
        independent: a batch size; each batch of this size is drawn without replacement,
            independently of the others. None shuffles the data once per epoch.
    """
    if independent is not None:
        blocks = -(-budget // independent)
        keys = stream(seed, ORDER).random((blocks, samples))
        return np.argpartition(keys, independent - 1, axis=1)[:, :independent].ravel()[:budget]
    epochs = -(-budget // samples)
    shuffles = [stream(seed, ORDER, epoch).permutation(samples) for epoch in range(epochs)]
    return np.concatenate(shuffles)[:budget]


def collate(data: Any, index: Sequence[int]) -> tuple[Tensor, ...]:
    """Return samples of a map-style dataset as one batch: a tuple with a tensor per part.

    Raises:
        RequestError: the samples have different shapes.
    """
    samples = [data[i] for i in index]
    try:
        batch = default_collate(samples)
    except RuntimeError as error:
        raise RequestError(
            f"the samples of a batch have different shapes ({one_line(str(error))}); pad or crop "
            "all samples to one shape"
        ) from error
    return tuple(batch) if isinstance(batch, list | tuple) else (batch,)


class TrainingData:
    """The training data, and a table with the order of samples of every seed in use.

    Args:
        data: tensors whose first axis is the sample, or a map-style dataset.
        device: device of the batches.
        independent: True to draw each batch independently instead of by epochs.

    Attributes:
        version: number that increases when the table moves in memory.
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
        """Return the row of a seed in the table, and add the row if it is missing.

        Args:
            seed: seed of a run.
            budget: number of samples that the run sees in all.
            batch: batch size of its first step.
        """
        independent = min(batch, self._samples) if self._independent else None
        if seed not in self._orders or budget > self._table.shape[1]:
            orders = {**self._orders, seed: self._orders.get(seed, len(self._orders))}
            longest = max(budget, self._table.shape[1])
            rows = [
                sample_order(s, self._samples, longest, independent=independent) for s in orders
            ]
            self._table = torch.from_numpy(np.stack(rows)).to(self._device)
            self._orders = orders  # last, so that an error above changes nothing
            self.version += 1
        return self._orders[seed]

    def take(self, rows: Tensor, begin: Tensor, width: int) -> Any:
        """Return one batch per run, a tuple of tensors of shape `[A, width, ...]`.

        Args:
            rows: rows of the runs' seeds in the table, shape `[A]`.
            begin: number of samples that each run has seen before, shape `[A]`.
            width: samples per batch; positions beyond the end of a row repeat its last sample.
        """
        place = begin[:, None] + torch.arange(width, device=self._device)
        index = self._table[rows[:, None], place.clamp_(max=self._table.shape[1] - 1)]
        if self._tensors:
            return tuple(t[index] for t in self._data)
        batches = [collate(self._data, row) for row in index.tolist()]
        return tuple(torch.stack(p).to(self._device) for p in zip(*batches, strict=True))
