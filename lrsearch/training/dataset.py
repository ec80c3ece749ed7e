"""A short description of a task's training data, which trackers store with a study."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from lrsearch.tasks.task import TorchTask

#: Number of evenly spaced samples that the digest reads, so that large data do not delay a search.
READ = 256


def describe_data(task: TorchTask) -> dict[str, Any]:
    """Return the name, digest, source and profile of a task's training data.

    For tensors, the digest covers shapes, types and up to 256 samples. For a dataset, it covers
    only the class and the length.
    """
    digest, profile = hashlib.sha256(), dict[str, Any](samples=task.samples)
    if isinstance(task.train, tuple):
        rows = torch.linspace(0, task.samples - 1, min(READ, task.samples)).long()
        for part in task.train:
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(_bytes(part[rows]))
        profile["shapes"] = [list(part.shape[1:]) for part in task.train]
    else:
        digest.update(f"{type(task.train).__qualname__} {task.samples}".encode())
    if task.validation:
        profile["validation_samples"] = len(task.validation[0])
    return {
        "name": task.name,
        "digest": digest.hexdigest()[:12],
        "source": str(task.options.get("data", task.name)),
        "profile": profile,
    }


def _bytes(part: Tensor) -> bytes:
    return part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
