"""Update rules of `torch.optim` for many runs at once, each with its own rate and momentum.

Parameters, gradients and state are stacked along a leading axis of runs. The arithmetic is that of
`torch.optim.SGD`, `Adam` and `AdamW` (single-tensor forms, dampening 0), up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lrsearch.errors import RequestError, closest
from lrsearch.tasks.task import TorchTask


class OptimizerRule(Protocol):
    """An optimizer over stacked parameters.

    Attributes:
        state: tensors by name, with the runs along the first axis; all zeros before step 0.
    """

    state: dict[str, Tensor]

    def apply(
        self,
        names: Sequence[str],
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
        at: StepState,
    ) -> None:
        """Update `values` and their rows of the state in place.

        Args:
            names: names of the parameters.
            values: parameters, each of shape `[A, ...]`.
            gradients: gradients, of the shapes of `values`.
            at: rows, rates, momenta and step counts of the A runs.
        """
        ...

    def squares(self, rows: Tensor) -> list[Tensor] | None:
        """Return rows of Adam's averages of squared gradients, or None for other optimizers."""
        ...


@dataclass(frozen=True, eq=False)
class StepState:
    """The numbers of one step of A runs.

    Attributes:
        rows: rows of the runs in the state.
        rate, momentum: learning rates and momenta, shape `[A]` each.
        count: number of steps including this one, shape `[A]`.
        rest: True if the momentum of some run is 0 in some steps of its plan but not in all.
    """

    rows: slice | Tensor
    rate: Tensor
    momentum: Tensor
    count: Tensor
    rest: bool


def make_rule(task: TorchTask, parameters: Mapping[str, Tensor]) -> OptimizerRule:
    """Make the optimizer of a task for parameters that are stacked along a leading axis.

    Raises:
        RequestError: the task's optimizer is unknown.
    """
    if task.optimizer not in RULES:
        raise RequestError(
            f"there is no optimizer {task.optimizer!r}{closest(task.optimizer, RULES)}"
        )
    return RULES[task.optimizer](task, parameters)


def column(vector: Tensor, like: Tensor) -> Tensor:
    """Return a vector `[A]` in the dtype of `like`, `[A, ...]`, shaped to broadcast with it."""
    return vector.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


class _Sgd:
    """v ← μv + g, θ ← θ - ηv; Nesterov: θ ← θ - η(g + μv)."""

    def __init__(self, task: TorchTask, parameters: Mapping[str, Tensor]) -> None:
        self.state = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self._nesterov = task.optimizer == "nesterov"
        self._decay = task.weight_decay

    def apply(
        self,
        names: Sequence[str],
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
        at: StepState,
    ) -> None:
        for name, value, g in zip(names, values, gradients, strict=True):
            rate, mu = column(-at.rate, value), column(at.momentum, value)
            if self._decay:
                g = g.add(value, alpha=self._decay)
            old = self.state[name][at.rows]
            if at.rest or not isinstance(at.rows, slice):
                v = torch.addcmul(g, old, mu)
                # Like torch.optim.SGD, do not change the buffer while the momentum is 0.
                self.state[name][at.rows] = torch.where(mu == 0, old, v) if at.rest else v
            else:
                v = torch.addcmul(g, old, mu, out=old)  # `old` is a view of the state
            value.addcmul_(torch.addcmul(g, v, mu) if self._nesterov else v, rate)

    def squares(self, rows: Tensor) -> None:
        """Return None, because SGD has no such averages."""


class _Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) and AdamW (Loshchilov & Hutter 2019)."""

    def __init__(self, task: TorchTask, parameters: Mapping[str, Tensor]) -> None:
        self.state = {
            f"{average}.{name}": torch.zeros_like(p)
            for average in ("m", "v")
            for name, p in parameters.items()
        }
        self._beta2, self._epsilon = task.beta2, task.epsilon
        self._decay, self._decoupled = task.weight_decay, task.optimizer == "adamw"

    def apply(
        self,
        names: Sequence[str],
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
        at: StepState,
    ) -> None:
        count = at.count.double()
        # Like torch.optim, raise the β1 of this step to the power of the number of steps.
        first = 1 - at.momentum.double() ** count
        second = (1 - self._beta2**count).sqrt()
        step = at.rate.double() / first
        for name, value, g in zip(names, values, gradients, strict=True):
            if self._decay and self._decoupled:
                value.mul_(1 - column(at.rate * self._decay, value))
            elif self._decay:
                g = g.add(value, alpha=self._decay)
            m = self.state[f"m.{name}"][at.rows]
            v = self.state[f"v.{name}"][at.rows]
            m = torch.lerp(m, g, 1 - column(at.momentum, value))
            v = (v * self._beta2).addcmul_(g, g, value=1 - self._beta2)
            self.state[f"m.{name}"][at.rows] = m
            self.state[f"v.{name}"][at.rows] = v
            scale = (v.sqrt() / column(second, value)).add_(self._epsilon)
            value.addcmul_(m / scale, column(-step, value))

    def squares(self, rows: Tensor) -> list[Tensor]:
        return [tensor[rows] for name, tensor in self.state.items() if name.startswith("v.")]


#: Update rules by the optimizer's name.
RULES: Mapping[str, Callable[[TorchTask, Mapping[str, Tensor]], OptimizerRule]] = {
    "sgd": _Sgd,
    "nesterov": _Sgd,
    "adam": _Adam,
    "adamw": _Adam,
}
