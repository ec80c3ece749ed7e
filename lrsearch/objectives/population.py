"""A population of training runs as one tensor program.

The runs of a schedule search share architecture and data and differ in a few numbers an update, so
K of them are trained as one: parameters are stacked along a leading axis, the forward pass is
mapped over it (`torch.func.vmap`), and one backward pass of the summed losses yields every
member's gradient, because a member's loss depends on no parameter but its own.

All slots advance together: the next runs are pulled in when the last of the group has ended.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from lrsearch.contract import Run, Runs
from lrsearch.errors import RunStopped
from lrsearch.result import Outcome
from lrsearch.seeding import stream

__all__ = ["Classification", "train"]


@dataclass(frozen=True, kw_only=True)
class Classification:
    """A model and its data.

    Attributes:
        model: builds a module and initialises it from a generator.
        inputs: training inputs, shape `[N, ...]`.
        labels: training labels, shape `[N]`, int64.
        held_out: inputs and labels that training does not see.
        weight_decay: coefficient of the parameters in the gradient.
    """

    model: Callable[[torch.Generator], nn.Module]
    inputs: Tensor
    labels: Tensor
    held_out: tuple[Tensor, Tensor]
    weight_decay: float = 0.0


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices lose on several threads: two on busy cores can be ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(task: Classification, runs: Runs, slots: int) -> Iterator[Outcome]:
    """Trains runs, `slots` at a time, by SGD with the momentum of their plans (torch's form).

    The value is the held-out cross-entropy after the last update, in nats; the figure `accuracy`
    is the fraction of held-out samples that are classified rightly.
    """
    while group := runs.take(slots):
        with one_thread():
            outcomes = _train_group(task, group, slots)
        yield from outcomes


def sample_order(seed: int, samples: int, budget: int) -> np.ndarray:
    """The indices that a run with this seed sees, shape `[budget]`: one shuffle an epoch.

    It depends on neither schedule nor batch, so that a growing batch draws from the same stream.
    """
    epochs = -(-budget // samples)
    shuffles = [stream(seed, "order", epoch).permutation(samples) for epoch in range(epochs)]
    return np.concatenate(shuffles)[:budget]


class _Batches:
    """The samples of every member at every update, padded to the largest batch.

    Attributes:
        index: shape `[K, T, B]`, int64.
        weight: shape `[K, T, B]`: 1/B_t for the samples of update t, 0 for the padding.
    """

    def __init__(self, group: list[Run], slots: int, samples: int, dtype: torch.dtype) -> None:
        updates = max(len(run.plan) for run in group)
        widest = max(int(run.plan.batch.max()) for run in group)
        self.index = torch.zeros(slots, updates, widest, dtype=torch.int64)
        self.weight = torch.zeros(slots, updates, widest, dtype=dtype)
        for slot, run in enumerate(group):
            batch = torch.from_numpy(run.plan.batch.copy())
            order = torch.from_numpy(sample_order(run.seed, samples, run.plan.samples))
            begin = torch.cumsum(batch, 0) - batch
            place = torch.arange(widest)[None, :]
            inside = place < batch[:, None]
            position = torch.where(inside, begin[:, None] + place, 0)
            self.index[slot, : len(batch)] = order[position]
            self.weight[slot, : len(batch)] = inside.to(dtype) / batch[:, None]


def _train_group(task: Classification, group: list[Run], slots: int) -> list[Outcome]:
    """Trains at most `slots` runs to their ends.

    Empty slots are padded: the arithmetic of a member must not depend on how many neighbours it
    has.
    """
    began = time.perf_counter()
    seeds = [run.seed for run in group] + [0] * (slots - len(group))
    models = [task.model(torch.Generator().manual_seed(seed)) for seed in seeds]
    parameters, buffers = stack_module_state(models)
    velocity = {name: torch.zeros_like(p) for name, p in parameters.items()}
    dtype = task.inputs.dtype
    batches = _Batches(group, slots, len(task.labels), dtype)
    rates, momenta = _columns(group, slots, dtype)
    logits = _population(models[0], buffers)
    ended: dict[int, tuple[str, str]] = {}
    for t in range(batches.index.shape[1]):
        running = [k for k, run in enumerate(group) if t < len(run.plan) and k not in ended]
        if not running:
            break
        index, weight = batches.index[:, t], batches.weight[:, t]
        outputs = logits(parameters, task.inputs[index])
        losses = _cross_entropy(outputs, task.labels[index], weight)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
        _update(parameters, velocity, gradients, rates[:, t], momenta[:, t], task.weight_decay)
        values = losses.tolist()
        for k in running:
            try:
                group[k].report(t, values[k])
            except RunStopped as stop:
                ended[k] = (stop.state, str(stop))
                rates[k] = 0.0
    values, accuracies = _evaluate(logits, parameters, task)
    seconds = (time.perf_counter() - began) / len(group)
    outcomes = []
    for k, run in enumerate(group):
        if k in ended:
            state, reason = ended[k]
            outcomes.append(run.end(state, reason=reason, seconds=seconds))
        else:
            run.note("accuracy", accuracies[k])
            outcomes.append(run.end("finished", values[k], seconds=seconds))
    return outcomes


def _columns(group: list[Run], slots: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rates and momenta of shape `[K, T]`; a rate of 0 beyond a plan's end holds its weights."""
    updates = max(len(run.plan) for run in group)
    rates = torch.zeros(slots, updates, dtype=dtype)
    momenta = torch.zeros_like(rates)
    for k, run in enumerate(group):
        rates[k, : len(run.plan)] = torch.from_numpy(run.plan.lr.copy())
        momenta[k, : len(run.plan)] = torch.from_numpy(run.plan.momentum.copy())
    return rates, momenta


def _population(
    model: nn.Module, buffers: Mapping[str, Tensor]
) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """Outputs of all members, `[K, B, C]`, from their parameters and inputs `[K, B, ...]`."""

    def member(parameters: dict[str, Tensor], own: dict[str, Tensor], inputs: Tensor) -> Tensor:
        output: Tensor = functional_call(model, (parameters, own), (inputs,))
        return output

    mapped = vmap(member)
    return lambda parameters, inputs: mapped(dict(parameters), dict(buffers), inputs)


def _cross_entropy(outputs: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy of every member in nats, shape `[K]`."""
    losses = nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    # A padded sample has weight 0, and 0 times an infinite loss would be NaN.
    return torch.where(weight > 0, losses.view_as(weight) * weight, 0.0).sum(1)


@torch.no_grad()
def _update(
    parameters: Mapping[str, Tensor],
    velocity: Mapping[str, Tensor],
    gradients: tuple[Tensor, ...],
    rate: Tensor,
    momentum: Tensor,
    weight_decay: float,
) -> None:
    """Each member with its own η and μ: v ← μv + g, θ ← θ - ηv, `torch.optim.SGD`'s form."""
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        shape = (-1, *[1] * (parameter.dim() - 1))
        if weight_decay:
            gradient = gradient + weight_decay * parameter
        velocity[name].mul_(momentum.view(shape)).add_(gradient)
        parameter.sub_(rate.view(shape) * velocity[name])


@torch.no_grad()
def _evaluate(
    logits: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    parameters: Mapping[str, Tensor],
    task: Classification,
) -> tuple[list[float], list[float]]:
    """Held-out cross-entropy in nats and accuracy of every member."""
    inputs, labels = task.held_out
    slots = len(next(iter(parameters.values())))
    outputs = logits(parameters, inputs.expand(slots, *inputs.shape))
    everyone = labels.expand(slots, len(labels))
    weight = torch.full(everyone.shape, 1.0 / len(labels), dtype=outputs.dtype)
    losses = _cross_entropy(outputs, everyone, weight)
    right = (outputs.argmax(-1) == everyone).double().mean(1)
    return losses.tolist(), right.tolist()
