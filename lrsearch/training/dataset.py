"""A short description of a task's training data, which trackers store with a study."""

from __future__ import annotations

import hashlib
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from lrsearch.origin import Origin, describe, file_of, origin_of
from lrsearch.tasks.structure import FlatSamples
from lrsearch.tasks.task import TorchTask

#: Number of bytes of each tensor that a digest reads, so that large data do not delay a search.
READ = 64 << 20
#: Fields of a task that decide values, besides those that the study stores anyway.
FIELDS = ("optimizer", "beta2", "epsilon", "weight_decay", "clip", "precision", "independent")


def describe_data(task: TorchTask) -> dict[str, Any]:
    """Return the name, digest, source and profile of the training data of a task with flat data.

    For tensors, the digest covers shapes, types and samples: all of them, or evenly spaced ones of
    a tensor above 64 MiB. For a dataset, it covers only the class and the length.
    """
    profile = dict[str, Any](samples=task.samples)
    if isinstance(task.train, tuple):
        digest = _digest(task.train)
        profile["shapes"] = [list(part.shape[1:]) for part in task.train]
    else:
        data = task.train.data if isinstance(task.train, FlatSamples) else task.train
        named = f"{type(data).__qualname__} {task.samples}"
        digest = hashlib.sha256(named.encode()).hexdigest()[:12]
    if task.validation:
        profile["validation_samples"] = len(task.validation[0])
    return {
        "name": task.name,
        "digest": digest,
        "source": str(task.options.get("data", task.name)),
        "profile": profile,
    }


def task_origin(task: TorchTask, flat: TorchTask, digest: str) -> Origin:
    """Return what a study stores of a task, besides its options; see `lrsearch.origin`.

    Args:
        task: the task.
        flat: the same task with flat data.
        digest: the digest of its training data from `describe_data`.
    """
    found = {name: describe(getattr(task, name)) for name in FIELDS}
    # The digest of a dataset does not cover its samples, so they cannot be compared.
    found["training data"] = digest if isinstance(flat.train, tuple) else None
    if flat.validation is not None:
        found["validation data"] = _digest(flat.validation)
    own = {} if type(task) is TorchTask else vars(type(task))
    for name, value in own.items():
        plain = not callable(value) and not isinstance(value, property)
        if plain and name not in TorchTask.__dataclass_fields__ and not name.startswith("_"):
            found[name] = describe(value)
    for function in (task.model, task.loss, task.evaluate):
        if isinstance(function, FunctionType):
            found |= origin_of(function)
        elif isinstance(function, MethodType):
            below = function.__func__
            if isinstance(below, FunctionType) and (place := file_of(below)):
                found["file"] = place
    return found


def _digest(parts: tuple[Tensor, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        size = part.element_size() * part[:1].numel()
        rows = max(1, min(len(part), READ // max(1, size)))
        digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
        if rows == len(part):
            digest.update(_bytes(part))
        else:
            digest.update(_bytes(part[torch.linspace(0, len(part) - 1, rows).long()]))
    return digest.hexdigest()[:12]


def _bytes(part: Tensor) -> bytes:
    return part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
