"""A task as a function of its parameters, for many runs stacked along a leading axis.

A population evaluates the model only through this module: the training losses of a step, the
validation values, and the loss at other parameters, which measurements of the landscape need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lrsearch.tasks.task import TorchTask
from lrsearch.training.cuda_graphs import Replay, fill_up
from lrsearch.training.dropout import key_dropout
from lrsearch.training.loss_module import LossModule, mean_over_samples, summed_loss
from lrsearch.training.model import make_model

#: Number of runs that are validated at once.
EVALUATED = {"cpu": 1, "cuda": 16}


class FunctionalTask:
    """A model, its loss and its validation as functions of the trained parameters.

    Args:
        task: the task that is trained.
        device: device of the parameters.

    Attributes:
        names: names of the trained parameters, in the order of every sequence of values.
        template: the module that is called. Only its buffers and its parameters that are not
            trained are used; the others are replaced.
    """

    def __init__(self, task: TorchTask, device: torch.device) -> None:
        self._task, self._device = task, device
        self.template = make_model(task, 0, device)
        self._key = key_dropout(self.template)
        self._loss = LossModule(self.template, task.loss)
        self._metrics = None if task.metrics is None else LossModule(self.template, task.metrics)
        self._validation = tuple(t.to(device) for t in task.validation or ())
        named = dict(self.template.named_parameters())
        self.names = [name for name, p in named.items() if p.requires_grad]
        self._frozen = {
            **{n: p.detach() for n, p in named.items() if not p.requires_grad},
            **dict(self.template.named_buffers()),
        }
        self._starts: dict[int, list[Tensor]] = {}
        # The size is constant, so that rounding does not depend on how many runs are validated.
        self._block = torch.zeros(EVALUATED[device.type], dtype=torch.int64, device=device)
        self._figures: list[str] = []

    def stack(self, slots: int) -> dict[str, Tensor]:
        """Return parameters for `slots` runs by name, each of shape `[slots, ...]`."""
        return {n: p.expand(slots, *p.shape).clone() for n, p in self.initial().items()}

    def initial(self) -> dict[str, Tensor]:
        """Return initial parameters by name: those of the template, without an axis of runs."""
        return {name: self.template.get_parameter(name).detach() for name in self.names}

    def start(self, seed: int) -> list[Tensor]:
        """Return the initial parameters of a seed, in the order of `names`."""
        if seed not in self._starts:
            model = make_model(self._task, seed, self._device)
            self._starts[seed] = [model.get_parameter(name).detach() for name in self.names]
        return self._starts[seed]

    def train(self, values: Sequence[Tensor], batch: Any, weight: Tensor, key: Tensor) -> Tensor:
        """Compute the mean training losses of a step, shape `[A]`.

        Args:
            values: parameters of A runs.
            batch: samples, each part of shape `[A, B, ...]`.
            weight: weight of every sample, shape `[A, B]`; 0 for padding.
            key: keys of the dropout layers, shape `[A]`.
        """
        self.template.train()
        return vmap(self._member_loss)(tuple(values), batch, weight, key)

    def around(self, values: Sequence[Tensor], batch: Any) -> Tensor:
        """Compute the mean losses of A runs on the same samples in evaluation mode, shape `[A]`.

        Args:
            values: parameters of A runs, which may require gradients.
            batch: samples, each part of shape `[B, ...]`.
        """
        self.template.eval()

        def member(values: tuple[Tensor, ...], batch: Any) -> Tensor:
            return torch.mean(self._call(self._loss, values, batch))

        return vmap(member, in_dims=(0, None))(tuple(values), batch)

    def validate(
        self, parameters: Mapping[str, Tensor], rows: Sequence[int], replay: Replay
    ) -> dict[int, tuple[float, Mapping[str, float]]]:
        """Compute the validation value and the metrics of rows of the stack.

        Args:
            parameters: parameters by name, each of shape `[K, ...]`.
            rows: rows to validate.
            replay: runs the computation of a block of rows. The caller drops its graphs when the
                parameters move in memory.

        Returns:
            Value and metrics by row.
        """
        self.template.eval()
        evaluate, found = self._task.evaluate, dict[int, tuple[float, Mapping[str, float]]]()
        if evaluate is not None:
            return {
                row: (self._evaluate_alone([p[row] for p in parameters.values()], evaluate), {})
                for row in rows
            }
        together = len(self._block)
        for begin in range(0, len(rows), together):
            block = rows[begin : begin + together]
            self._block.copy_(torch.tensor(fill_up(block, together)))
            numbers = replay.run("", lambda: self._validate_block(parameters), list).tolist()
            for i, row in enumerate(block):
                figures = {n: column[i] for n, column in zip(self._figures, numbers, strict=True)}
                found[row] = (figures.pop(""), figures)
        return found

    def _member_loss(
        self, values: tuple[Tensor, ...], batch: Any, weight: Tensor, key: Tensor
    ) -> Tensor:
        """Compute one run's mean loss; `vmap` maps this over the runs."""
        self._key.value = key
        return summed_loss(self._call(self._loss, values, batch), weight)

    def _call(self, wrapped: LossModule, values: tuple[Tensor, ...], batch: Any) -> Any:
        replaced = {**dict(zip(self.names, values, strict=True)), **self._frozen}
        state = {f"model.{name}": value for name, value in replaced.items()}
        if self._task.precision == "float32":
            return functional_call(wrapped, state, (batch,))
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            output = functional_call(wrapped, state, (batch,))
        return output.float() if isinstance(output, Tensor) else output

    @torch.no_grad()
    def _validate_block(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Compute means over the validation samples, one row per name; `''` names the value."""

        def member(values: tuple[Tensor, ...], batch: Any) -> dict[str, Tensor]:
            numbers = {"": self._call(self._loss, values, batch)}
            if self._metrics is not None:
                numbers |= self._call(self._metrics, values, batch)
            return {name: n.double().mean() for name, n in numbers.items()}

        values = tuple(parameters[name][self._block] for name in self.names)
        sums = mean_over_samples(member, values, self._validation)
        self._figures = list(sums)
        return torch.stack(list(sums.values()))

    def _evaluate_alone(
        self, values: Sequence[Tensor], evaluate: Callable[[nn.Module], float]
    ) -> float:
        """Call the task's own `evaluate` with a new module that has these parameters."""
        model = make_model(self._task, 0, self._device)
        with torch.no_grad():
            for name, value in zip(self.names, values, strict=True):
                model.get_parameter(name).copy_(value)
        model.eval()
        return float(evaluate(model))
