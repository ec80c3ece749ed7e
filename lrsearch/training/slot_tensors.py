"""The tensors of a population: the parameters of each slot, and the numbers of each step.

The runs in flight are always the first rows. Rows are written in groups, because on a GPU writing
one row by itself takes as long as a step of all rows.
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

#: The numbers of each step of a run, by name, with their types.
TABLES = {"rate": np.float64, "momentum": np.float64, "begin": np.int64, "batch": np.int64}


class SlotTensors:
    """The tensors of K slots on one device.

    Args:
        task: the task that is trained.
        program: the task as a function of its parameters.
        samples: the training data.
        slots: K, the number of slots.
        device: device of the tensors.

    Attributes:
        parameters: parameters by name, each of shape `[K, ...]`.
        updates: the optimizer with its state.
        watch: the norms of updates.
        watching: seconds spent on norms so far; on a GPU, only the time to launch their kernels.
        version: number that increases when a tensor moves in memory.
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
        """Write new runs, before their first step, to consecutive rows.

        Args:
            runs: the runs, one per row.
            first: first of the rows.
            watched: True if norms of updates are measured.
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
        orders = [self._samples.row(run.seed, run.plan.samples, run.plan.batch[0]) for run in runs]
        self.version += self._samples.version - before
        self._order[rows] = torch.tensor(orders, device=self._device)
        self._seed[rows] = torch.tensor([run.seed for run in runs], device=self._device)
        self._t[rows] = 0
        if watched and self.watch.admit(rows, [run.seed for run in runs], starts):
            self.version += 1

    def move(self, to: Sequence[int], source: Sequence[int]) -> None:
        """Copy rows of all tensors to other rows; `to` and `source` must be disjoint."""
        there, here = (torch.tensor(rows, device=self._device) for rows in (to, source))
        for tensor in self._all():
            tensor[there] = tensor[here]

    def rest(self, rows: slice) -> None:
        """Reset rows without a run to initial parameters, because steps may compute them."""
        for name, values in self._program.initial().items():
            self.parameters[name][rows] = values
        for tensor in (*self.updates.state.values(), *self._tables.values(), self._t):
            tensor[rows] = 0

    def update(
        self, rows: slice | Tensor, width: int, watched: slice | Tensor | None, rests: bool
    ) -> Tensor:
        """Do one step of some rows; return the losses before it, shape `[A]`.

        Args:
            rows: rows of A runs.
            width: size to which their batches are padded.
            watched: indices into `rows`: the runs whose norms are stored. None for no run.
            rests: True if the momentum of some run is 0 in some steps but not in all.
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
        """Return the tensors that a step writes."""
        state = self.updates.state.values()
        return [*self.parameters.values(), *state, self._t, self.watch.norms]

    def _now(self, rows: slice | Tensor) -> dict[str, Tensor]:
        """Return the numbers of the next step of A rows by the names of `TABLES`, shape `[A]`.

        A row without a run has rate 0 and batch size 1.
        """
        t = self._t[rows][:, None].clamp(max=self._tables["rate"].shape[1] - 1)
        now = {name: table[rows].gather(1, t)[:, 0] for name, table in self._tables.items()}
        return {**now, "batch": now["batch"].clamp(min=1)}

    def _widen(self, updates: int) -> None:
        """Extend the tables to a number of steps, if they are shorter."""
        for name, table in self._tables.items():
            slots, width = table.shape
            if width < updates:
                wider = table.new_zeros(slots, updates)
                wider[:, :width] = table
                self._tables[name] = wider
                self.version += 1

    def _all(self) -> list[Tensor]:
        """Return every tensor that has one row per slot."""
        named = (self.parameters, self.updates.state, self._tables)
        own = (tensor for tensors in named for tensor in tensors.values())
        return [*own, self._t, self._seed, self._order, self.watch.start]
