"""A task's loss as a function of its parameters, its means over samples, and gradient clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

#: Validation samples per forward pass.
VALIDATION_ROWS = 1024


class LossModule(nn.Module):
    """A module whose forward pass is a function of a model and a batch, such as the task's loss.

    `torch.func.functional_call` can then replace the model's parameters.
    """

    def __init__(self, model: nn.Module, call: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self._call = call

    def forward(self, batch: Any) -> Any:
        """Call the function with the model and the batch."""
        return self._call(self.model, batch)


def summed_loss(losses: Tensor, weight: Tensor) -> Tensor:
    """Return the mean loss of one run's batch: Σ weight·loss, or the task's own mean."""
    if losses.dim() == 0:
        return losses
    # A padded sample has weight 0. Without `where`, 0 times an infinite loss would be NaN.
    return torch.where(weight > 0, losses * weight, 0.0).sum()


def clip_members(gradients: tuple[Tensor, ...], limit: float | None) -> None:
    """Clip the norm of each run's whole gradient in place, as `clip_grad_norm_` does.

    Args:
        gradients: gradient of every parameter, with the runs along the first axis.
        limit: largest norm, or None for no clipping.
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
    """Return means over all samples by name, each of shape `[A]`.

    Args:
        member: function of one run's parameters and a batch that returns means over the batch by
            name.
        values: parameters of A runs, stacked.
        data: tensors whose first axis is the sample.
    """
    samples, sums = len(data[0]), dict[str, Tensor]()
    for begin in range(0, samples, VALIDATION_ROWS):
        part = tuple(t[begin : begin + VALIDATION_ROWS] for t in data)
        means = vmap(member, in_dims=(0, None))(values, part)
        for name, mean in means.items():
            sums[name] = sums.get(name, 0.0) + mean * (len(part[0]) / samples)
    return sums
