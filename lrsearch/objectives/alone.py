"""One run at a time, by a plain loop and `torch.optim`: for models that no population can hold."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lrsearch.contract import Run, Runs
from lrsearch.errors import RunStopped
from lrsearch.objectives.dropout import key_dropout, mix
from lrsearch.objectives.samples import Samples
from lrsearch.objectives.task import TorchTask
from lrsearch.result import Outcome

__all__ = ["train_alone"]

#: Validation samples at a time.
VALIDATION_ROWS = 1024


def train_alone(task: TorchTask, runs: Runs, device: torch.device) -> Iterator[Outcome]:
    """Pulls runs one by one and trains each to its end."""
    samples = Samples(task.train, device, independent=task.independent)
    while taken := runs.take(1):
        yield _train(task, samples, taken[0], device)


def _train(task: TorchTask, samples: Samples, run: Run, device: torch.device) -> Outcome:
    began = time.perf_counter()
    devices = [device] if device.type == "cuda" else []
    # Layers that draw from torch's own generator get a state of the run's own.
    with torch.random.fork_rng(devices):
        torch.manual_seed(run.seed)
        try:
            value, figures = _follow(task, samples, run, device)
        except RunStopped as stop:
            seconds = time.perf_counter() - began
            return run.end(stop.state, reason=str(stop), seconds=seconds)
    for name, figure in figures.items():
        run.note(name, figure)
    return run.end("finished", value, seconds=time.perf_counter() - began)


def _follow(
    task: TorchTask, samples: Samples, run: Run, device: torch.device
) -> tuple[float, Mapping[str, float]]:
    """Follows the run's plan to its end; value and figures."""
    model = task.model(torch.Generator().manual_seed(run.seed)).to(device)
    key = key_dropout(model)
    optimizer = _optimizer(task, model)
    group = optimizer.param_groups[0]
    order = samples.row(run.seed, run.plan.samples, int(run.plan.batch[0]))
    row = torch.tensor([order], device=device)
    begin, model = 0, model.train()
    for t, (rate, width) in enumerate(run.plan):
        momentum = float(run.plan.momentum[t])
        group["lr"] = rate
        if "betas" in group:
            group["betas"] = (momentum, task.beta2)
        else:
            group["momentum"] = momentum
        batch = samples.take(row, torch.tensor([begin], device=device), width)
        key.value = mix(mix(torch.tensor(t, device=device)) ^ run.seed)
        with torch.autocast(device.type, torch.bfloat16, task.precision == "bfloat16"):
            loss = task.loss(model, tuple(part[0] for part in batch)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if task.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), task.clip)
        optimizer.step()
        begin += width
        run.report(t, loss.item())
    return _validate(task, model.eval(), device)


def _optimizer(task: TorchTask, model: nn.Module) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    decay = task.weight_decay
    if task.optimizer in ("sgd", "nesterov"):
        nesterov = task.optimizer == "nesterov"
        # A momentum above 0 that the first update replaces: torch refuses Nesterov without.
        return torch.optim.SGD(trained, 1.0, 0.5, weight_decay=decay, nesterov=nesterov)
    kind = torch.optim.AdamW if task.optimizer == "adamw" else torch.optim.Adam
    return kind(trained, 1.0, (0.9, task.beta2), task.epsilon, decay)


@torch.no_grad()
def _validate(
    task: TorchTask, model: nn.Module, device: torch.device
) -> tuple[float, Mapping[str, float]]:
    """The value and the figures of a model in evaluation mode."""
    if task.evaluate is not None:
        return float(task.evaluate(model)), {}
    data = tuple(t.to(device) for t in task.validation or ())
    sums = dict[str, float]()
    for begin in range(0, len(data[0]), VALIDATION_ROWS):
        part = tuple(t[begin : begin + VALIDATION_ROWS] for t in data)
        numbers: dict[str, Any] = {"": task.loss(model, part)}
        if task.metrics is not None:
            numbers |= task.metrics(model, part)
        for name, number in numbers.items():
            mean = float(Tensor.double(number).mean()) * len(part[0]) / len(data[0])
            sums[name] = sums.get(name, 0.0) + mean
    return sums.pop(""), sums
