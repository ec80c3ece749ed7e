"""A few samples of a task, with which it is tried out before the search."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from lrsearch.tasks.task import TorchTask
from lrsearch.training.data_order import collate

#: Number of samples that are kept, and number of samples that are searched for rare values.
KEPT, SEARCHED = 8, 4096


def check_samples(task: TorchTask, model: nn.Module) -> TorchTask:
    """Return the task with few samples, among them the smallest and largest values.

    Rare inputs can take another path through the model. If an embedding has a padding index, one
    sample contains it. The task is validated on the same samples.

    Args:
        task: the task.
        model: a model of the task.
    """
    train = task.train
    if isinstance(train, tuple):
        searched = tuple(t[_spread(len(t), SEARCHED)] for t in train)
        kept = _rare(searched)
        parts = tuple(t[kept] for t in searched)
    else:
        parts = collate(train, _spread(len(train), KEPT).tolist())
    validation = tuple(t[:KEPT] for t in task.validation or parts)
    parts = _with_padding(parts, model)
    return dataclasses.replace(
        task, train=parts, validation=validation, evaluate=None, independent=False
    )


def to_double(task: TorchTask) -> TorchTask:
    """Return the task in float64: its model, its samples and its precision."""

    def double(part: Tensor) -> Tensor:
        return part.double() if part.is_floating_point() else part

    return dataclasses.replace(
        task,
        model=lambda generator: task.model(generator).double(),
        train=tuple(map(double, task.train)),
        validation=tuple(map(double, task.validation or ())),
        precision="float32",
    )


def _spread(samples: int, count: int) -> Tensor:
    """Return evenly spaced indices, at most `count`."""
    return torch.linspace(0, samples - 1, min(samples, count)).round().long()


def _rare(parts: tuple[Tensor, ...]) -> Tensor:
    """Return the indices of samples to keep: the extremes of every part, then others."""
    chosen = list[int]()
    for part in parts:
        flat = part.reshape(len(part), -1)
        if flat.shape[1] and not flat.is_complex():
            chosen += [int(flat.amin(1).argmin()), int(flat.amax(1).argmax())]
    order = dict.fromkeys([*chosen, *_spread(len(parts[0]), KEPT).tolist()])
    return torch.tensor(list(order)[:KEPT])


def _with_padding(parts: tuple[Tensor, ...], model: nn.Module) -> tuple[Tensor, ...]:
    """Return samples in which every padding index of an embedding occurs, if it is a value."""
    indices = {
        int(layer.padding_idx)
        for layer in model.modules()
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.padding_idx is not None
    }
    parts = tuple(part.clone() for part in parts)
    for part in parts:
        if part.is_floating_point() or part.dim() < 2 or not part.numel():
            continue
        for place, index in enumerate(sorted(indices)):
            if int(part.min()) <= index <= int(part.max()) or index == 0:
                part.view(-1)[place] = index
    return parts
