"""The loss landscape of a task's runs, in the form that probes measure (`lrsearch.landscape`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrsearch.contract import Probes
from lrsearch.errors import log
from lrsearch.landscape import Classes, Landscape
from lrsearch.seeding import LANDSCAPE, LOOK, stream
from lrsearch.stacked import layout, pack, unpack
from lrsearch.tasks.structure import Structured
from lrsearch.tasks.task import TorchTask
from lrsearch.training.cuda_graphs import Capture, Replay, fill_up, power_of_two
from lrsearch.training.data_order import collate
from lrsearch.training.devices import is_out_of_memory
from lrsearch.training.optimizer_rules import column

#: Largest difference between a replayed and an eager measurement, as a fraction of the largest
#: number in a column. A guess: wide for float32, but far below what wrong samples or parameters
#: would give.
ROUNDING = 1e-2

METHODS = {"sgd": "heavy_ball", "nesterov": "nesterov", "adam": "adam", "adamw": "adam"}


class LandscapeView:
    """Gives probes access to the landscape of runs.

    Args:
        task: the task that is trained.
        probes: the measurements.
        device: device of the runs.
        model: a module of the task, whose layers are inspected.
        record: function that captures a measurement as a graph, as for
            `lrsearch.training.cuda_graphs.Replay`; None measures eagerly.
        slots: largest number of runs that are measured together.
    """

    def __init__(
        self,
        task: TorchTask,
        probes: Probes,
        device: torch.device,
        model: nn.Module,
        *,
        record: Capture | None = None,
        slots: int = 1,
    ) -> None:
        self._task, self._probes, self._device = task, probes, device
        self._batches: dict[tuple[int, int], Any] = {}
        self._replay = Replay(record, "measurements of the landscape are", warm_up=1)
        self._slots = slots
        self._buffers: list[Tensor] = []
        self._fresh: dict[int, Any] = {}
        self._kept: dict[Hashable, Any] = {}
        self._classes = _find_classes(task, model, device)
        self._layouts: dict[Hashable, dict[str, int]] = {}
        self._works = True

    def look(
        self,
        values: Sequence[Tensor],
        parts: frozenset[str],
        *,
        loss: Callable[[Sequence[Tensor], Any], Tensor],
        batch: int,
        rate: Sequence[float],
        momentum: Sequence[float],
        count: Sequence[int],
        turn: int,
        squares: Sequence[Tensor] | None,
    ) -> Mapping[str, list[float]]:
        """Measure the landscape of A runs.

        Args:
            values: parameters, each of shape `[A, ...]`.
            parts: names of the parts to measure.
            loss: function of the parameters of A runs and a batch that returns their mean losses
                in evaluation mode, shape `[A]`.
            batch: batch size of the runs' first step.
            rate: learning rate of the last step, one per run.
            momentum: momentum of the last step, one per run.
            count: number of steps done, one per run.
            turn: index of this measurement of the runs, from 0.
            squares: Adam's averages of squared gradients, of the shapes of `values`; None for
                other optimizers.

        Returns:
            Numbers by name, one per run; empty if the model cannot be measured.
        """
        if not self._works:
            return {}
        try:
            samples = self._probes.samples(batch, self._task.samples)
            data, replayed = self._data(samples), self._replay.enabled
            there, scale = [v.detach() for v in values], self._scale(squares, momentum, count)
            if replayed:
                there, scale = self._in_place(there, scale)
                self._refresh(samples, turn)
            rows = len(there[0])

            def fresh(values: Sequence[Tensor], part: slice) -> Tensor:
                own = self._fresh[samples] if replayed else self._data(samples, turn)
                return loss(values, tuple(t[part] for t in own))

            def replay(
                step: Callable[[], Mapping[str, Tensor]], amplified: Mapping[str, int]
            ) -> Mapping[str, Tensor]:
                return self._replayed((parts, rows, samples), step, amplified)

            landscape = Landscape(
                values=tuple(there),
                loss=lambda v, part: loss(v, tuple(t[part] for t in data)),
                fresh=fresh,
                samples=samples,
                rate=torch.tensor(fill_up(rate, rows), dtype=torch.float64),
                momentum=torch.tensor(fill_up(momentum, rows), dtype=torch.float64),
                method=METHODS[self._task.optimizer],
                weight_decay=0.0 if self._task.optimizer == "adamw" else self._task.weight_decay,
                scale=tuple(scale) or None,
                replay=replay,
                kept=self._kept if replayed else None,
                classes=self._classes,
            )
            seen = self._probes.look(landscape, parts)
            return {name: column[: len(rate)] for name, column in seen.items()}
        except RuntimeError as error:
            # A second derivative, a `vmap` rule for it, or memory is missing. Training needs none
            # of them, so only the measurements end.
            self._works = False
            self.forget(self._slots)
            if is_out_of_memory(error) and self._device.type == "cuda":
                torch.cuda.empty_cache()
            reason = " ".join(str(error).split())[:160]
            log.warning("the landscape of task %s is not measured: %s", self._task.name, reason)
            return {}

    def _replayed(
        self,
        key: Hashable,
        step: Callable[[], Mapping[str, Tensor]],
        amplified: Mapping[str, int],
    ) -> Mapping[str, Tensor]:
        """Run a measurement, as a graph if possible; return its named tensors on the host."""

        def packed() -> Tensor:
            named = step()
            self._layouts[key] = layout(named)  # kept for replays, which do not run this function
            return pack(named)

        def same(a: Tensor, b: Tensor) -> bool:
            a_named, b_named = (unpack(tensor, self._layouts[key]) for tensor in (a, b))
            return all(_same(a_named[n], b_named[n], amplified.get(n)) for n in a_named)

        found = self._replay.run(key, packed, list, same)
        return unpack(found.cpu(), self._layouts[key])

    def forget(self, slots: int) -> None:
        """Drop all graphs and the tensors that they read.

        Args:
            slots: largest number of runs that are measured together from now on.
        """
        self._slots = slots
        self._replay.forget()
        self._buffers.clear()
        self._fresh.clear()
        self._kept.clear()

    def _in_place(
        self, values: Sequence[Tensor], scale: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Copy both to tensors that never move in memory, as graphs need.

        The last run is repeated until the number of runs is a power of two.
        """
        runs, tensors = len(values[0]), [*values, *scale]
        rows = power_of_two(runs)
        if not self._buffers:
            most = power_of_two(self._slots)
            self._buffers = [t.new_empty(most, *t.shape[1:]) for t in tensors]
        buffers = [buffer[:rows] for buffer in self._buffers]
        for buffer, tensor in zip(buffers, tensors, strict=True):
            buffer[:runs] = tensor
            buffer[runs:] = tensor[-1:]
        return buffers[: len(values)], buffers[len(values) :]

    def _refresh(self, samples: int, turn: int) -> None:
        """Copy the fresh samples of a measurement to the tensors that replays read."""
        batch = self._data(samples, turn)
        if samples not in self._fresh:
            self._fresh[samples] = tuple(torch.empty_like(part) for part in batch)
        for buffer, part in zip(self._fresh[samples], batch, strict=True):
            buffer.copy_(part)

    def _data(self, samples: int, turn: int = -1) -> Any:
        """Return the samples of a measurement, the same for all runs, so that runs compare.

        Args:
            samples: number of samples.
            turn: index of the measurement, for its fresh samples; -1 for the samples that all
                measurements share.
        """
        if (samples, turn) not in self._batches:
            order = stream(0, LANDSCAPE) if turn < 0 else stream(0, LOOK, turn)
            index, data = order.permutation(self._task.samples)[:samples], self._task.train
            if isinstance(data, tuple):
                parts = tuple(t[torch.from_numpy(index)] for t in data)
            else:
                parts = collate(data, index.tolist())
            self._batches[samples, turn] = tuple(part.to(self._device) for part in parts)
        return self._batches[samples, turn]

    def _scale(
        self, squares: Sequence[Tensor] | None, momentum: Sequence[float], count: Sequence[int]
    ) -> list[Tensor]:
        """Return D = (1-β1^t)(√(v/(1-β2^t)) + ε), by which Adam divides its average gradient."""
        if squares is None:
            return []
        beta1, done = torch.tensor(momentum, dtype=torch.float64), torch.tensor(count)
        first = (1 - beta1**done).to(self._device)
        second = (1 - self._task.beta2 ** done.double()).to(self._device)
        return [
            # Infinity, because a coordinate without a gradient so far has never been updated.
            torch.where(
                v > 0,
                column(first, v) * ((v / column(second, v)).sqrt() + self._task.epsilon),
                torch.inf,
            )
            for v in squares
        ]


def _same(a: Tensor, b: Tensor, faithful: int | None) -> bool:
    """Return True if numbers are equal up to rounding, which cancellation may have amplified.

    Args:
        a: numbers of shape `[A]` or `[A, n]`.
        b: numbers of the same shape.
        faithful: number of leading columns to compare, because later columns amplify rounding;
            None to compare all columns.
    """
    a, b = (tensor.reshape(len(tensor), -1)[:, :faithful] for tensor in (a, b))
    scale = torch.where(torch.isfinite(b), b, 0.0).abs().amax(0)
    same = (a - b).abs() <= ROUNDING * scale
    return bool((same | (a == b) | (torch.isnan(a) & torch.isnan(b))).all())


def _find_classes(task: TorchTask, model: nn.Module, device: torch.device) -> Classes | None:
    """Return the training data if the task is a linear classifier of vectors, else None."""
    layers = list(model) if isinstance(model, nn.Sequential) else [model]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear) or layers[0].out_features < 2:
        return None
    pairs = isinstance(task.train, tuple) and len(task.train) == 2
    if not pairs or isinstance(task.loss, Structured):
        return None
    inputs, labels = task.train
    fits = inputs.dim() == 2 and labels.dim() == 1 and not labels.is_floating_point()
    trained = all(p.requires_grad for p in model.parameters())
    if not fits or not trained or inputs.shape[1] != layers[0].in_features:
        return None
    known = labels.unique()
    if len(known) < 2 or known[0] < 0 or known[-1] >= layers[0].out_features:
        return None  # not class indices, or a single class
    return Classes(inputs=inputs.to(device), labels=labels.to(device))
