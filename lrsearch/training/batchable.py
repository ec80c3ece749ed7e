"""A check that a task can be trained as a population, and that its batches may be padded.

A few samples go through the program mapped by `vmap` and through the plain modules; losses and
gradients must agree. The check compares results instead of inspecting layers, so it detects
running statistics, in-place operations, data-dependent control flow, and custom gradients without
a rule for `vmap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from lrsearch.tasks.task import TorchTask
from lrsearch.training.data_order import TrainingData
from lrsearch.training.dropout import key_dropout
from lrsearch.training.loss_module import LossModule

#: Number of samples of the check, and the tolerance for float32 sums in another order.
TRIED, TOLERANCE = 4, 1e-3
SEEDS_TRIED = (1, 2)
#: Errors that torch raises if `vmap` has no rule for an operation, or if a rule fails.
FAILURES = (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError, AttributeError)


@dataclass(frozen=True)
class Batchable:
    """The result of the check.

    Attributes:
        reason: why runs must be trained one by one; empty if a population can train them.
        paddable: True if each sample's loss depends on that sample alone, so batches may be
            padded.
        parameters: number of parameters of one run.
    """

    reason: str = ""
    paddable: bool = False
    parameters: int = 0


def check_batchable(task: TorchTask) -> Batchable:
    """Check on the CPU how a task can be trained.

    Raises:
        Exception: any error that the task's own code raises without `vmap`.
    """
    samples = TrainingData(task.train, torch.device("cpu"))
    rows = torch.tensor([samples.row(seed, TRIED, TRIED) for seed in SEEDS_TRIED])
    batch = samples.take(rows, torch.zeros(len(SEEDS_TRIED), dtype=torch.int64), TRIED)
    models = [task.model(torch.Generator().manual_seed(seed)).train() for seed in SEEDS_TRIED]
    for model in models:
        key_dropout(model)
    before = {name: buffer.clone() for name, buffer in models[0].named_buffers()}
    wrapped = [LossModule(model, task.loss) for model in models]
    plain, gradients = [], []
    for k, module in enumerate(wrapped):
        losses = module(tuple(part[k] for part in batch))
        trained = [p for p in module.parameters() if p.requires_grad]
        plain.append(losses.detach())
        gradients.append(torch.autograd.grad(losses.mean(), trained, allow_unused=True))
    for name, buffer in models[0].named_buffers():
        if not torch.equal(buffer, before[name]):
            return Batchable(f"training changes its buffer {name} in place")
    expected = torch.stack(plain)
    try:
        mapped, mapped_gradients = _map(wrapped, batch)
    except FAILURES as error:
        return Batchable(" ".join(str(error).split())[:160] or type(error).__name__)
    if mapped.shape != expected.shape or not _close(mapped, expected):
        return Batchable("its losses change under torch.func.vmap")
    for k, own in enumerate(gradients):
        for one, many in zip(own, mapped_gradients, strict=True):
            if one is not None and not _close(many[k], one):
                return Batchable("its gradients change under torch.func.vmap")
    return Batchable(
        paddable=_paddable(wrapped[0], tuple(part[0] for part in batch)),
        parameters=sum(p.numel() for p in models[0].parameters()),
    )


def _map(wrapped: list[LossModule], batch: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute losses and gradients of all models by one mapped program."""
    parameters, buffers = stack_module_state(wrapped)

    def member(own: Any, part: Any) -> Tensor:
        state = (own, {name: b[0] for name, b in buffers.items()})
        return cast(Tensor, functional_call(wrapped[0], state, (part,)))

    losses = vmap(member)(parameters, batch)
    means = losses.flatten(1).mean(1) if losses.dim() > 1 else losses
    trained = [p for p in parameters.values() if p.requires_grad]
    gradients = torch.autograd.grad(means.sum(), trained, materialize_grads=True)
    return losses.detach(), gradients


@torch.no_grad()
def _paddable(module: LossModule, batch: Any) -> bool:
    """Return True if the losses of the other samples stay the same without the last one."""
    whole = module(batch)
    if whole.dim() != 1 or len(whole) != TRIED:
        return False
    return _close(module(tuple(part[:-1] for part in batch)), whole[:-1])


def _close(a: Tensor, b: Tensor) -> bool:
    scale = float(b.abs().max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(
        a, b, rtol=TOLERANCE, atol=TOLERANCE * max(scale, 1e-6)
    )
