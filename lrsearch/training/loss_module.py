"""A task's loss as a function of replaced parameters, and what is done to its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

#: Validation samples at a time.
VALIDATION_ROWS = 1024


class LossModule(nn.Module):
    """The task's loss as a module's forward pass, so that its parameters can be replaced."""

    def __init__(self, model: nn.Module, call: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self._call = call

    def forward(self, batch: Any) -> Any:
        """What the task says of the model and a batch."""
        return self._call(self.model, batch)


def summed_loss(losses: Tensor, weight: Tensor) -> Tensor:
    """The mean loss of one member's batch: Σ weight·loss, or a mean that the task took itself."""
    if losses.dim() == 0:
        return losses
    # A padded sample has weight 0, and 0 times an infinite loss would be NaN.
    return torch.where(weight > 0, losses * weight, 0.0).sum()


def clip_members(gradients: tuple[Tensor, ...], limit: float | None) -> None:
    """Scales every member's whole gradient to a norm, as `clip_grad_norm_` does, in place.

    Args:
        gradients: of every parameter, the member along the first axis.
        limit: the largest norm, or None.
    """
    if limit is None:
        return
    squares = [g.reshape(len(g), -1).square().sum(1) for g in gradients]
    norm = torch.stack(squares).sum(0).sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))


def mean_over_samples(
    member: Callable[[tuple[Tensor, ...], Any], dict[str, Tensor]],
    values: tuple[Tensor, ...],
    data: tuple[Tensor, ...],
) -> dict[str, Tensor]:
    """Means over all samples of what a member says of them, shape `[A]` each.

    Args:
        member: parameters of one member and a batch to numbers by name, each the batch's mean.
        values: parameters of A members, stacked.
        data: tensors whose first axis is the sample.
    """
    samples, sums = len(data[0]), dict[str, Tensor]()
    for begin in range(0, samples, VALIDATION_ROWS):
        part = tuple(t[begin : begin + VALIDATION_ROWS] for t in data)
        means = vmap(member, in_dims=(0, None))(values, part)
        for name, mean in means.items():
            sums[name] = sums.get(name, 0.0) + mean * (len(part[0]) / samples)
    return sums
