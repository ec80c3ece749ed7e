"""One run at a time, by a plain loop and `torch.optim`.

For models that no population can hold, and for those so large that one run fills the device.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lrsearch.contract import Run, Runs
from lrsearch.errors import RunStopped
from lrsearch.objectives.devices import deliberate, is_out_of_memory
from lrsearch.objectives.dropout import key_dropout, mix
from lrsearch.objectives.samples import Samples
from lrsearch.objectives.task import TorchTask, rungs
from lrsearch.objectives.wrapped import VALIDATION_ROWS
from lrsearch.result import Outcome, Trace

__all__ = ["PlainRun", "train_alone"]


def train_alone(task: TorchTask, runs: Runs, device: torch.device) -> Iterator[Outcome]:
    """Pulls runs one by one and trains each to its end."""
    samples = Samples(task.train, device, independent=task.independent)
    while taken := runs.take(1):
        yield _train(task, samples, taken[0], device)


def _train(task: TorchTask, samples: Samples, run: Run, device: torch.device) -> Outcome:
    began, checks = time.perf_counter(), rungs(len(run.plan), task.evaluations)
    updates, values = list[int](), list[float]()

    def end(state: str, value: float | None = None, reason: str = "") -> Outcome:
        traces = {"val_loss": Trace.of(updates, values)} if updates else {}
        seconds = time.perf_counter() - began
        return run.end(state, value, reason=reason, seconds=seconds, traces=traces)

    devices = [device] if device.type == "cuda" else []
    # Layers that draw from torch's own generator get a state of the run's own.
    with torch.random.fork_rng(devices):
        torch.manual_seed(run.seed)
        try:
            plain = PlainRun(task, samples, run, device)
            with deliberate(device, plain.parameters):
                for t in range(len(run.plan)):
                    run.report(t, plain.step().item())
                    if t + 1 in checks:
                        updates.append(t)
                        values.append(plain.validate()[0])
                value, figures = plain.validate()
        except RunStopped as stop:
            return end(stop.state, reason=str(stop))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return end("failed", reason="out of memory with one run in flight")
    for name, figure in figures.items():
        run.note(name, figure)
    updates.append(len(run.plan) - 1)
    values.append(value)
    return end("finished", value)


class PlainRun:
    """A run that follows its plan update by update.

    Args:
        task: what is trained.
        samples: its training data on the device.
        run: the plan and the seed.
        device: where.

    Attributes:
        parameters: how many numbers it trains.
    """

    def __init__(self, task: TorchTask, samples: Samples, run: Run, device: torch.device) -> None:
        self._task, self._samples, self._run, self._device = task, samples, run, device
        self._model = task.model(torch.Generator().manual_seed(run.seed)).to(device)
        self._key = key_dropout(self._model)
        trained = [p for p in self._model.parameters() if p.requires_grad]
        self.parameters = sum(p.numel() for p in trained)
        self._optimizer = _optimizer(task, trained)
        order = samples.row(run.seed, run.plan.samples, int(run.plan.batch[0]))
        self._row = torch.tensor([order], device=device)
        self._t = self._begin = 0

    def step(self) -> Tensor:
        """One update; the loss before it."""
        task, run, device, t = self._task, self._run, self._device, self._t
        momentum, width = float(run.plan.momentum[t]), int(run.plan.batch[t])
        group = self._optimizer.param_groups[0]
        group["lr"] = float(run.plan.lr[t])
        if "betas" in group:
            group["betas"] = (momentum, task.beta2)
        else:
            group["momentum"] = momentum
        batch = self._samples.take(self._row, torch.tensor([self._begin], device=device), width)
        self._key.value = mix(mix(torch.tensor(t, device=device)) ^ run.seed)
        self._model.train()
        with torch.autocast(device.type, torch.bfloat16, task.precision == "bfloat16"):
            loss = task.loss(self._model, tuple(part[0] for part in batch)).mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if task.clip is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), task.clip)
        self._optimizer.step()
        self._t, self._begin = t + 1, self._begin + width
        return loss.detach()

    def validate(self) -> tuple[float, Mapping[str, float]]:
        """The value and the figures of the model in evaluation mode."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            return _validate(self._task, self._model.eval(), self._device)


def _optimizer(task: TorchTask, trained: list[nn.Parameter]) -> torch.optim.Optimizer:
    decay = task.weight_decay
    if task.optimizer in ("sgd", "nesterov"):
        nesterov = task.optimizer == "nesterov"
        # A momentum above 0 that the first update replaces: torch refuses Nesterov without.
        return torch.optim.SGD(trained, 1.0, 0.5, weight_decay=decay, nesterov=nesterov)
    kind = torch.optim.AdamW if task.optimizer == "adamw" else torch.optim.Adam
    return kind(trained, 1.0, (0.9, task.beta2), task.epsilon, decay)


def _validate(
    task: TorchTask, model: nn.Module, device: torch.device
) -> tuple[float, Mapping[str, float]]:
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
