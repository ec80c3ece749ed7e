"""A check that a task can be trained as a population, and that its batches may be padded.

The same few steps are trained in both ways: three seeds one by one by the plain trainer, and
together as a population. Losses, updated parameters and validation values must agree. The check
compares results instead of inspecting layers, so it detects running statistics, in-place
operations, data-dependent control flow, frozen random layers, and operations whose `vmap` rule or
gradient is wrong. It runs in float64 if the model allows it, where a wrong result differs by far
more than rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lrsearch.errors import RequestError
from lrsearch.failure import reason_of
from lrsearch.plan import Plan
from lrsearch.run import Run
from lrsearch.tasks.task import TorchTask
from lrsearch.training.check_data import check_samples, to_double
from lrsearch.training.data_order import TrainingData
from lrsearch.training.devices import deliberate, own_randomness, seeded
from lrsearch.training.dropout import key_dropout
from lrsearch.training.loss_module import LossModule
from lrsearch.training.model import make_model
from lrsearch.training.plain import PlainRun
from lrsearch.training.population import Population

CPU = torch.device("cpu")
#: Seeds that are compared. The population's template has seed 0, so the others differ from it.
SEEDS = (0, 1, 2)
#: Batch sizes of the steps that are compared: growing ones if batches may be padded (widths 4 and
#: 8, of which one step fills its width), else constant ones.
GROWING, CONSTANT = (3, 3, 4, 4, 5, 5), (4, 4, 4, 4, 4, 4)
#: The same for models with more parameters than `LARGE`, which need seconds per step.
LARGE, LARGE_GROWING, LARGE_CONSTANT = 2_000_000, (2, 3), (2, 2)
#: Largest relative difference by precision. A guess: rounding of a few steps stays far below it,
#: and a wrong gradient or mask far above it.
TOLERANCES = {"float64": 1e-7, "float32": 1e-3, "bfloat16": 5e-2}
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
        Exception: any error that the task's own code raises in plain training.
    """
    models = [make_model(task, seed) for seed in SEEDS]
    for name, p in models[0].named_parameters():
        if isinstance(p, nn.UninitializedParameter):
            raise RequestError(
                f"task {task.name}: parameter {name} belongs to a lazy module that has seen no "
                "input; call the module once in model(generator) before returning it"
            )
    parameters = sum(p.numel() for p in models[0].parameters())
    large = parameters > LARGE
    growing, constant = (LARGE_GROWING, LARGE_CONSTANT) if large else (GROWING, CONSTANT)
    small = check_samples(task, models[0])
    reason = _structure(models) or _changed_in_place(small, models[0], constant[0])
    if reason:
        return Batchable(reason)
    paddable = _paddable(small, max(growing)) and not _compare(small, growing, paddable=True)
    reason = "" if paddable else _compare(small, constant, paddable=False)
    return Batchable(reason) if reason else Batchable("", paddable, parameters)


def _structure(models: list[nn.Module]) -> str:
    """Return why models of these seeds cannot share one program, or nothing."""
    first, *others = models
    for name, p in first.named_parameters():
        if p.is_complex():
            return f"its parameter {name} is complex"
    for name, layer in first.named_modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.max_norm is not None:
            return f"its embedding {name} has max_norm, which changes parameters in place"
    fixed = _fixed(first)
    for other in others:
        own = _fixed(other)
        for name, tensor in fixed.items():
            if name not in own or not torch.equal(tensor, own[name]):
                return f"its tensor {name}, which is not trained, depends on the seed"
    return ""


def _fixed(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that are not trained and the buffers, by name."""
    return {name: tensor for name, tensor in _tensors(model).items() if not tensor.requires_grad}


def _changed_in_place(task: TorchTask, model: nn.Module, width: int) -> str:
    """Return which tensor of the model a forward pass in training mode changes, or nothing."""
    key_dropout(model)
    before = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}
    with own_randomness(CPU):
        LossModule(model.train(), task.loss)(tuple(part[:width] for part in task.train))
    for name, tensor in _tensors(model).items():
        if name not in before or not torch.equal(tensor, before[name]):
            return f"a forward pass changes its tensor {name} in place"
    return ""


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _compare(task: TorchTask, batch: tuple[int, ...], *, paddable: bool) -> str:
    """Train a few steps in both ways, in float64 if possible.

    Args:
        task: the task with few samples.
        batch: batch size of every step.
        paddable: True to pad batches.

    Returns:
        What differs, or nothing.
    """
    exact = to_double(task)
    try:
        plain = _alone(exact, batch)
    except FAILURES:  # for example, the model makes float32 tensors itself
        exact, plain = task, _alone(task, batch)
    kinds = [(exact, plain, "float64" if exact is not task else task.precision)]
    if task.precision != "float32" and exact is not task:
        kinds.append((task, _alone(task, batch), task.precision))
    for kind, alone, precision in kinds:
        try:
            together = _together(kind, batch, paddable=paddable)
        except FAILURES as error:
            return reason_of(error)[:160]
        reason = _difference(alone, together, TOLERANCES[precision])
        if reason:
            return reason
    return ""


@dataclass(frozen=True)
class _Trained:
    """The results of a few steps of all seeds.

    Attributes:
        losses: losses before each step, shape `[seeds, steps]`.
        change: change of every parameter by its name, shape `[seeds, ...]`.
        value: validation values, shape `[seeds]`.
    """

    losses: Tensor
    change: dict[str, Tensor]
    value: Tensor


def _run(task: TorchTask, seed: int, batch: tuple[int, ...]) -> Run:
    """Return a run whose rate and momentum differ between steps and seeds."""
    wave = 1 + 0.2 * np.cos(np.arange(len(batch)) + seed)
    low, high = task.peak
    rate = task.usual_peak or (low * high) ** 0.5
    plan = Plan(rate * wave, np.array(batch), 0.8 * task.momentum * wave)
    return Run(trial=seed, replicate=0, seed=seed, plan=plan, stops=False)


def _alone(task: TorchTask, batch: tuple[int, ...]) -> _Trained:
    """Train one seed after the other by the plain trainer."""
    samples = TrainingData(task.train, CPU, independent=task.independent)
    losses, changes, values = [], [], []
    for seed in SEEDS:
        with seeded(seed, CPU):
            plain = PlainRun(task, samples, _run(task, seed, batch), CPU)
            start = _trained(plain.model)
            with deliberate(CPU, plain.parameters):
                losses.append(torch.stack([plain.step().double() for _ in batch]))
            changes.append({n: p - start[n] for n, p in _trained(plain.model).items()})
            values.append(plain.validate()[0])
    change = {name: torch.stack([c[name] for c in changes]) for name in changes[0]}
    return _Trained(torch.stack(losses), change, torch.tensor(values, dtype=torch.float64))


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def _together(task: TorchTask, batch: tuple[int, ...], *, paddable: bool) -> _Trained:
    """Train all seeds at the same time as a population."""
    population = Population(task, len(SEEDS), CPU, paddable=paddable)
    population.put([_run(task, seed, batch) for seed in SEEDS])
    with deliberate(CPU):
        losses = torch.stack([population.step().double() for _ in batch], 1)
    values, change = population.state()
    return _Trained(losses, change, torch.tensor(values, dtype=torch.float64))


def _difference(alone: _Trained, together: _Trained, tolerance: float) -> str:
    """Return what differs between the two ways of training, or nothing."""
    if not _close(together.losses, alone.losses, tolerance):
        return "its losses differ when it is trained as a population"
    if not _close(together.value, alone.value, tolerance):
        return "its validation value differs when it is trained as a population"
    if tolerance == TOLERANCES["float64"]:
        # One scale for all parameters: a gradient that is 0 but for rounding, as that of a bias
        # before a softmax, may move its parameter by another tiny amount.
        largest = max(
            (float(c.abs().max()) for c in alone.change.values() if c.numel()), default=0
        )
        for name, change in alone.change.items():
            if not _close(together.change[name], change, tolerance, largest):
                return f"its parameter {name} is updated differently as part of a population"
    return ""


@torch.no_grad()
def _paddable(task: TorchTask, width: int) -> bool:
    """Return True if the losses of the other samples stay the same without the last one."""
    with own_randomness(CPU):
        model = make_model(task, 0).train()
        key_dropout(model)
        module = LossModule(model, task.loss)
        batch = tuple(part[:width] for part in task.train)
        whole = module(batch)
        if whole.dim() != 1 or len(whole) != len(batch[0]):
            return False
        fewer = module(tuple(part[:-1] for part in batch))
    return _close(fewer, whole[:-1], TOLERANCES["float32"])


def _close(a: Tensor, b: Tensor, tolerance: float, scale: float | None = None) -> bool:
    if scale is None:
        scale = float(torch.where(torch.isfinite(b), b, 0.0).abs().max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(
        a, b, rtol=tolerance, atol=tolerance * max(scale, 1e-12), equal_nan=True
    )
