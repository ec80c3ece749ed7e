"""The winning model: trained once more, and kept as a graph that loads without pickle."""

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
from lrsearch.training.devices import deliberate, own_randomness
from lrsearch.training.plain import PlainRun

#: Samples of the example by which a model's graph is traced.
EXAMPLE = 2


def save_trained_model(
    task: TorchTask, plan: Plan, seed: int, device: torch.device, folder: Path
) -> dict[str, str]:
    """Trains a plan once more and writes `model.pt2` and `example.npy`.

    The first axis of the model's input stays free, so that any number of samples can be given.

    Args:
        task: what is trained.
        plan: what to do at each update.
        seed: of the run.
        device: where.
        folder: where to write.

    Returns:
        the two paths, by `model` and `example`; nothing where the model takes other than one
        tensor, or its graph cannot be traced.
    """
    run = Run(trial=0, replicate=0, seed=seed, plan=plan, stops=False)
    samples = TrainingData(task.train, device, independent=task.independent)
    with own_randomness(device):
        torch.manual_seed(seed)
        plain = PlainRun(task, samples, run, device)
        with deliberate(device, plain.parameters):
            for _ in plan:
                plain.step()
    model = plain.model.eval().cpu()
    given = _given(task, model)
    if len(given) != 1 or not isinstance(given[0], Tensor):
        log.warning("the model of task %s takes other than one tensor; not logged", task.name)
        return {}
    shapes = ({0: torch.export.Dim.AUTO},)
    try:
        program = torch.export.export(model, given, dynamic_shapes=shapes, strict=False)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        reason = " ".join(str(error).split())[:160]
        log.warning("the model of task %s is not logged, it has no graph: %s", task.name, reason)
        return {}
    paths = {"model": folder / "model.pt2", "example": folder / "example.npy"}
    torch.export.save(program, paths["model"])
    np.save(paths["example"], given[0].numpy())
    return {name: str(path) for name, path in paths.items()}


def _given(task: TorchTask, model: torch.nn.Module) -> tuple[Any, ...]:
    """What the task's loss calls its model with."""
    seen: list[tuple[Any, ...]] = []
    hook = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    samples = TrainingData(task.train, torch.device("cpu"), independent=task.independent)
    rows = torch.tensor([samples.row(0, EXAMPLE, EXAMPLE)])
    batch = samples.take(rows, torch.zeros_like(rows), EXAMPLE)
    with torch.no_grad():
        task.loss(model, tuple(part[0] for part in batch))
    hook.remove()
    return seen[0] if seen else ()
