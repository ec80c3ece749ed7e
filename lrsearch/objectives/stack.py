"""The tensors of a population: what each slot trains, and what it does at each update.

The runs in flight are always the first rows, so an empty slot costs nothing. Runs come and go
many at a time: on a GPU every row that is written by itself costs as much as an update of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from lrsearch.contract import Run
from lrsearch.objectives.program import Program
from lrsearch.objectives.samples import Samples
from lrsearch.objectives.task import TorchTask
from lrsearch.objectives.updates import make_updates
from lrsearch.objectives.watch import Watch

__all__ = ["Stack"]

#: What a slot does at each update, by name: the type of the number.
TABLES = {"rate": np.float64, "momentum": np.float64, "begin": np.int64, "batch": np.int64}


class Stack:
    """K rows on one device.

    Args:
        task: what is trained.
        program: the task as a function of its parameters.
        samples: its training data.
        slots: K.
        device: where.

    Attributes:
        parameters: by name, shape `[K, ...]`.
        updates: the optimizer, with its state.
        watch: the norms of updates.
        seed: of a row's run, shape `[K]`.
        t: updates that it has done, shape `[K]`.
        version: raised whenever one of the tensors has moved in memory.
    """

    def __init__(
        self,
        task: TorchTask,
        program: Program,
        samples: Samples,
        slots: int,
        device: torch.device,
    ) -> None:
        self._program, self._samples, self._device = program, samples, device
        self.parameters = program.stack(slots)
        self.updates = make_updates(task, self.parameters)
        self.watch = Watch(slots, device)
        self._tables = {
            name: torch.from_numpy(np.zeros((slots, 0), kind)).to(device)
            for name, kind in TABLES.items()
        }
        self.t = torch.zeros(slots, dtype=torch.int64, device=device)
        self.seed = torch.zeros_like(self.t)
        self._order = torch.zeros_like(self.t)
        self.version = 0

    def admit(self, runs: Sequence[Run], first: int, *, watched: bool) -> None:
        """Puts runs at their update 0 into the rows from `first` on.

        Args:
            runs: one a row.
            first: of the rows.
            watched: whether norms of updates are wanted.
        """
        rows = slice(first, first + len(runs))
        starts = [self._program.start(run.seed) for run in runs]
        for parameter, values in zip(
            self.parameters.values(), zip(*starts, strict=True), strict=True
        ):
            parameter[rows] = torch.stack(values)
        for state in self.updates.state.values():
            state[rows] = 0
        longest = max(len(run.plan) for run in runs)
        columns = {name: np.zeros((len(runs), longest), kind) for name, kind in TABLES.items()}
        for row, run in enumerate(runs):
            plan, end = run.plan, len(run.plan)
            columns["rate"][row, :end] = plan.lr
            columns["momentum"][row, :end] = plan.momentum
            columns["begin"][row, :end] = np.cumsum(plan.batch) - plan.batch
            columns["batch"][row, :end] = plan.batch
        self._widen(longest)
        for name, column in columns.items():
            self._tables[name][rows, :longest] = torch.from_numpy(column).to(self._device)
        before = self._samples.version
        orders = [
            self._samples.row(run.seed, run.plan.samples, int(run.plan.batch[0])) for run in runs
        ]
        self.version += self._samples.version - before
        self._order[rows] = torch.tensor(orders, device=self._device)
        self.seed[rows] = torch.tensor([run.seed for run in runs], device=self._device)
        self.t[rows] = 0
        if watched and self.watch.admit(rows, [run.seed for run in runs], starts):
            self.version += 1

    def move(self, to: Sequence[int], source: Sequence[int]) -> None:
        """Copies rows onto others; none is among both."""
        there, here = (torch.tensor(rows, device=self._device) for rows in (to, source))
        for tensor in self._all():
            tensor[there] = tensor[here]

    def now(self, rows: slice | Tensor) -> dict[str, Tensor]:
        """What some rows do at their next update, by the names of `TABLES`, shape `[A]` each."""
        t = self.t[rows][:, None]
        return {name: table[rows].gather(1, t)[:, 0] for name, table in self._tables.items()}

    def order(self, rows: slice | Tensor) -> Tensor:
        """The rows' data orders, as `lrsearch.objectives.samples.Samples` counts them."""
        return self._order[rows]

    def written(self) -> list[Tensor]:
        """What an update writes."""
        state = self.updates.state.values()
        return [*self.parameters.values(), *state, self.t, self.watch.norms]

    def _widen(self, updates: int) -> None:
        """Makes the tables long enough for so many updates."""
        for name, table in self._tables.items():
            slots, width = table.shape
            if width < updates:
                wider = table.new_zeros(slots, updates)
                wider[:, :width] = table
                self._tables[name] = wider
                self.version += 1

    def _all(self) -> Iterable[Tensor]:
        """Every tensor that has a row a slot."""
        yield from self.parameters.values()
        yield from self.updates.state.values()
        yield from self._tables.values()
        yield from (self.t, self.seed, self._order, self.watch.start)
