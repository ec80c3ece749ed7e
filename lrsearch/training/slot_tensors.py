"""The tensors of a population: what each slot trains, and what it does at each update.

The runs in flight are always the first rows. They come and go many at a time: on a GPU every row
that is written by itself costs as much as an update of all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lrsearch.run import Run
from lrsearch.stacked import flatten
from lrsearch.tasks.task import TorchTask
from lrsearch.training.data_order import TrainingData
from lrsearch.training.dropout import mix
from lrsearch.training.functional_task import FunctionalTask
from lrsearch.training.loss_module import clip_members
from lrsearch.training.norms import NormTable
from lrsearch.training.optimizer_rules import StepState, make_rule

#: What a slot does at each update, by name: the type of the number.
TABLES = {"rate": np.float64, "momentum": np.float64, "begin": np.int64, "batch": np.int64}


class SlotTensors:
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
        watching: seconds in norms so far; on a GPU only in their launches.
        version: raised whenever one of the tensors has moved in memory.
    """

    def __init__(
        self,
        task: TorchTask,
        program: FunctionalTask,
        samples: TrainingData,
        slots: int,
        device: torch.device,
    ) -> None:
        self._program, self._samples, self._device = program, samples, device
        self._clip = task.clip
        self.parameters = program.stack(slots)
        self.updates = make_rule(task, self.parameters)
        self.watch = NormTable(slots, device)
        self._tables = {
            name: torch.from_numpy(np.zeros((slots, 0), kind)).to(device)
            for name, kind in TABLES.items()
        }
        self._t = torch.zeros(slots, dtype=torch.int64, device=device)
        self._seed = torch.zeros_like(self._t)
        self._order = torch.zeros_like(self._t)
        self.version, self.watching = 0, 0.0

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
        self._seed[rows] = torch.tensor([run.seed for run in runs], device=self._device)
        self._t[rows] = 0
        if watched and self.watch.admit(rows, [run.seed for run in runs], starts):
            self.version += 1

    def move(self, to: Sequence[int], source: Sequence[int]) -> None:
        """Copies rows onto others; none is among both."""
        there, here = (torch.tensor(rows, device=self._device) for rows in (to, source))
        for tensor in self._all():
            tensor[there] = tensor[here]

    def rest(self, rows: slice) -> None:
        """Lets rows without a run stand where a model begins, for they may be computed."""
        for name, values in self._program.initial().items():
            self.parameters[name][rows] = values
        for tensor in (*self.updates.state.values(), *self._tables.values(), self._t):
            tensor[rows] = 0

    def update(
        self, rows: slice | Tensor, width: int, watched: slice | Tensor | None, rests: bool
    ) -> Tensor:
        """One update of some rows; their losses before it, shape `[A]`.

        Args:
            rows: of A runs.
            width: to which their batches are padded.
            watched: which of them norms are taken of.
            rests: whether a momentum is 0 at times and not at others.
        """
        t, now = self._t[rows], self._now(rows)
        batch = self._samples.take(self._order[rows], now["begin"], width)
        inside = torch.arange(width, device=self._device) < now["batch"][:, None]
        leaves = [p[rows].detach().requires_grad_() for p in self.parameters.values()]
        weight = inside.to(leaves[0].dtype) / now["batch"][:, None]
        total = self._program.train(leaves, batch, weight, mix(mix(t) ^ self._seed[rows]))
        gradients = torch.autograd.grad(total.sum(), leaves)
        with torch.no_grad():
            values = [leaf.detach() for leaf in leaves]
            clip_members(gradients, self._clip)
            before: Tensor | None = None
            if watched is not None:
                began = time.perf_counter()
                before = flatten([v[watched] for v in values])
                self.watching += time.perf_counter() - began
            at = StepState(rows, now["rate"], now["momentum"], t + 1, rests)
            self.updates.apply(self._program.names, values, gradients, at)
            if not isinstance(rows, slice):
                for value, parameter in zip(values, self.parameters.values(), strict=True):
                    parameter[rows] = value
            if watched is not None and before is not None:
                began = time.perf_counter()
                after, slope = (flatten([v[watched] for v in x]) for x in (values, gradients))
                self.watch.write(rows, watched, before, after, slope)
                self.watching += time.perf_counter() - began
            self._t[rows] += 1
        return total.detach()

    def written(self) -> list[Tensor]:
        """What an update writes."""
        state = self.updates.state.values()
        return [*self.parameters.values(), *state, self._t, self.watch.norms]

    def _now(self, rows: slice | Tensor) -> dict[str, Tensor]:
        """What some rows do at their next update, by the names of `TABLES`, shape `[A]` each.

        A row without a run has the rate 0, and one sample.
        """
        t = self._t[rows][:, None].clamp(max=self._tables["rate"].shape[1] - 1)
        now = {name: table[rows].gather(1, t)[:, 0] for name, table in self._tables.items()}
        return {**now, "batch": now["batch"].clamp(min=1)}

    def _widen(self, updates: int) -> None:
        """Makes the tables long enough for so many updates."""
        for name, table in self._tables.items():
            slots, width = table.shape
            if width < updates:
                wider = table.new_zeros(slots, updates)
                wider[:, :width] = table
                self._tables[name] = wider
                self.version += 1

    def _all(self) -> list[Tensor]:
        """Every tensor that has a row a slot."""
        named = (self.parameters, self.updates.state, self._tables)
        own = (tensor for tensors in named for tensor in tensors.values())
        return [*own, self._t, self._seed, self._order, self.watch.start]
