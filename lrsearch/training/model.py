"""Models of a task, made from a seed."""

from __future__ import annotations

import torch
from torch import nn

from lrsearch.tasks.task import TorchTask
from lrsearch.training.devices import seeded


def make_model(task: TorchTask, seed: int, device: torch.device | None = None) -> nn.Module:
    """Make the model of a seed, with the initial parameters that the plain trainer gives it.

    torch's own generator is seeded too, because the layers' default initialisation draws from it.
    Its state is restored afterwards.

    Args:
        task: the task.
        seed: seed of a run.
        device: device of the model; None for the CPU.
    """
    place = torch.device("cpu") if device is None else device
    with seeded(seed, place):
        return task.model(torch.Generator().manual_seed(seed)).to(place)
