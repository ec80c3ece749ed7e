"""The model of a chosen schedule, trained again and saved as a graph that needs no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrsearch.errors import log
from lrsearch.plan import Plan
from lrsearch.run import Run
from lrsearch.tasks.task import TorchTask
from lrsearch.training.data_order import TrainingData
from lrsearch.training.devices import deliberate, seeded
from lrsearch.training.plain import PlainRun

#: Number of samples of the example input with which a model is traced.
EXAMPLE = 2


def save_trained_model(
    task: TorchTask, plan: Plan, seed: int, device: torch.device, folder: Path
) -> dict[str, str]:
    """Train a plan again and write `model.pt2` and `example.npy`.

    The saved model accepts any number of samples along the first axis of its input.

    Args:
        task: the task that is trained.
        plan: rate, batch size and momentum of every step.
        seed: seed of the run.
        device: device to train on.
        folder: folder of the two files.

    Returns:
        The two paths by `model` and `example`; empty if the model's input is not a single tensor,
        or if the model cannot be traced.
    """
    run = Run(trial=0, replicate=0, seed=seed, plan=plan, stops=False)
    samples = TrainingData(task.train, device, independent=task.independent)
    with seeded(seed, device):
        plain = PlainRun(task, samples, run, device)
        with deliberate(device, plain.parameters):
            for _ in plan:
                plain.step()
    model = plain.model.eval().cpu()
    given = _given(task, model)
    if len(given) != 1 or not isinstance(given[0], Tensor):
        log.warning("the model of task %s is not saved: its input is not one tensor", task.name)
        return {}
    shapes = ({0: torch.export.Dim.AUTO},)
    try:
        program = torch.export.export(model, given, dynamic_shapes=shapes, strict=False)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        reason = " ".join(str(error).split())[:160]
        log.warning("the model of task %s is not saved: tracing failed: %s", task.name, reason)
        return {}
    paths = {"model": folder / "model.pt2", "example": folder / "example.npy"}
    torch.export.save(program, paths["model"])
    np.save(paths["example"], given[0].numpy())
    return {name: str(path) for name, path in paths.items()}


def _given(task: TorchTask, model: torch.nn.Module) -> tuple[Any, ...]:
    """Return the arguments with which the task's loss calls the model."""
    seen: list[tuple[Any, ...]] = []
    hook = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    samples = TrainingData(task.train, torch.device("cpu"), independent=task.independent)
    rows = torch.tensor([samples.row(0, EXAMPLE, EXAMPLE)])
    batch = samples.take(rows, torch.zeros_like(rows), EXAMPLE)
    with torch.no_grad():
        task.loss(model, tuple(part[0] for part in batch))
    hook.remove()
    return seen[0] if seen else ()
