"""Training of one run at a time, by a plain loop and `torch.optim`.

Used for models that cannot be trained as a population, and for models so large that one run alone
uses the whole device.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lrsearch.contract import Probes, Runs
from lrsearch.errors import RequestError, RunStopped, closest
from lrsearch.outcome import Outcome
from lrsearch.run import Run
from lrsearch.stacked import flatten
from lrsearch.tasks.task import OPTIMIZERS, TorchTask, validation_steps
from lrsearch.training.active_run import ActiveRun
from lrsearch.training.data_order import TrainingData
from lrsearch.training.devices import Trouble, deliberate, own_randomness, seeded
from lrsearch.training.dropout import key_dropout, mix
from lrsearch.training.landscape_view import LandscapeView
from lrsearch.training.loss_module import VALIDATION_ROWS, LossModule
from lrsearch.training.norms import name_norms
from lrsearch.training.norms import norms as take_norms


def train_alone(task: TorchTask, runs: Runs, device: torch.device) -> Iterator[Outcome]:
    """Pull runs one by one, train each to its end and yield its outcome."""
    loop = _PlainTrainer(task, runs.probes, device)
    while taken := runs.take(1):
        yield loop.train(taken[0])


class _PlainTrainer:
    """Trains one run after the other, and measures each with the probes."""

    def __init__(self, task: TorchTask, probes: Probes, device: torch.device) -> None:
        self._task, self._probes, self._device = task, probes, device
        self._samples = TrainingData(task.train, device, independent=task.independent)
        self._view: LandscapeView | None = None

    def train(self, run: Run) -> Outcome:
        """Train a run to its end and return its outcome."""
        task, device, began = self._task, self._device, time.perf_counter()
        member = ActiveRun(run, checks=validation_steps(len(run.plan), task.evaluations))
        member.ask(self._probes, task.samples)

        def end(
            state: str, value: float | None = None, reason: str = "", details: str = ""
        ) -> Outcome:
            member.seconds = time.perf_counter() - began
            return member.end(state, value, reason=reason, details=details)

        with seeded(run.seed, device):
            try:
                plain = PlainRun(task, self._samples, run, device, norms=bool(member.norms))
                with deliberate(device, plain.parameters):
                    for _ in run.plan:
                        self._update(plain, member)
                    value, figures = plain.validate()
            except RunStopped as stop:
                return end(stop.state, reason=str(stop))
            except Exception as error:  # noqa: BLE001  # a user's task may raise anything
                trouble = Trouble.of(error)
                return end("failed", reason=trouble.reason, details=trouble.details)
        member.keep(len(run.plan) - 1, {"val_loss": value})
        member.seconds = time.perf_counter() - began
        return member.finish(value, figures)

    def _update(self, plain: PlainRun, member: ActiveRun) -> None:
        """Do one step, and the validation and measurements that are due after it."""
        t = member.done
        watched = t in member.norms
        member.run.report(t, plain.step(watch=watched).item())
        member.done = t + 1
        if watched:
            member.keep(t, name_norms(plain.norms.tolist()))
        if t + 1 in member.checks:
            member.keep(t, {"val_loss": plain.validate()[0]})
        if t + 1 in member.agenda:
            began = time.perf_counter()
            if self._view is None:
                self._view = LandscapeView(self._task, self._probes, self._device, plain.model)
            seen = plain.look(self._view, member.agenda[t + 1], member.turn)
            member.keep(t, {name: column[0] for name, column in seen.items()})
            member.probing += time.perf_counter() - began


class PlainRun:
    """A run that is trained step by step according to its plan.

    Args:
        task: the task that is trained.
        samples: the training data on the device.
        run: the plan and the seed.
        device: device to train on.
        norms: True if `step` may be called with `watch`.

    Attributes:
        model: the module that is trained.
        parameters: number of trained parameters.
        norms: norms of the last watched update, in the order of `lrsearch.training.norms.NORMS`.
    """

    def __init__(
        self,
        task: TorchTask,
        samples: TrainingData,
        run: Run,
        device: torch.device,
        *,
        norms: bool = False,
    ) -> None:
        self._task, self._samples, self._run, self._device = task, samples, run, device
        self.model = task.model(torch.Generator().manual_seed(run.seed)).to(device)
        self._key = key_dropout(self.model)
        named = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self._names, self._trained = list(named), list(named.values())
        self.parameters = sum(p.numel() for p in self._trained)
        self.norms = torch.zeros(0)
        self._start = self._flat(self._trained) if norms else None
        self._loss = LossModule(self.model, task.loss)
        self._optimizer = _optimizer(task, self._trained)
        order = samples.row(run.seed, run.plan.samples, run.plan.batch[0])
        self._row = torch.tensor([order], device=device)
        self._t = self._begin = 0

    def step(self, *, watch: bool = False) -> Tensor:
        """Do one step and return the loss before it.

        Args:
            watch: True to store the norms of the update in `norms`.
        """
        task, run, device, t = self._task, self._run, self._device, self._t
        momentum, width = run.plan.momentum[t], run.plan.batch[t]
        group = self._optimizer.param_groups[0]
        group["lr"] = run.plan.lr[t]
        if "betas" in group:
            group["betas"] = (momentum, task.beta2)
        else:
            group["momentum"] = momentum
        batch = self._samples.take(self._row, torch.tensor([self._begin], device=device), width)
        self._key.value = mix(mix(torch.tensor(t, device=device)) ^ run.seed)
        self.model.train()
        with torch.autocast(device.type, torch.bfloat16, task.precision == "bfloat16"):
            loss = task.loss(self.model, tuple(part[0] for part in batch)).mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if task.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), task.clip)
        before = self._flat(self._trained) if watch else None
        self._optimizer.step()
        if before is not None and self._start is not None:
            after, slopes = self._trained, [_slope(p) for p in self._trained]
            self.norms = take_norms(before, self._flat(after), self._flat(slopes), self._start)[0]
        self._t, self._begin = t + 1, self._begin + width
        return loss.detach()

    def validate(self) -> tuple[float, Mapping[str, float]]:
        """Compute the validation value and the metrics of the model in evaluation mode."""
        with torch.no_grad(), own_randomness(self._device):
            return _validate(self._task, self.model.eval(), self._device)

    def look(
        self, view: LandscapeView, parts: frozenset[str], turn: int
    ) -> Mapping[str, list[float]]:
        """Measure the landscape after the last step.

        Args:
            view: the view of the task's landscape.
            parts: names of the parts to measure.
            turn: index of this measurement of the run, from 0.

        Returns:
            Lists of one number by name.
        """
        plan, t = self._run.plan, self._t - 1
        squares = None
        if self._task.optimizer in ("adam", "adamw"):  # an unused parameter has no state
            states = ((self._optimizer.state[p], p) for p in self._trained)
            squares = [s.get("exp_avg_sq", torch.zeros_like(p))[None] for s, p in states]
        # A model may draw random numbers in evaluation mode, which must not change the training.
        with own_randomness(self._device):
            return view.look(
                [p.detach()[None] for p in self._trained],
                parts,
                loss=self._around,
                batch=plan.batch[0],
                rate=[plan.lr[t]],
                momentum=[plan.momentum[t]],
                count=[self._t],
                turn=turn,
                squares=squares,
            )

    def _around(self, values: Sequence[Tensor], batch: Any) -> Tensor:
        """Compute the mean loss at other parameters in evaluation mode, shape `[1]`."""
        self.model.eval()
        named = {f"model.{n}": v[0] for n, v in zip(self._names, values, strict=True)}
        # Copy the buffers, because a forward pass may write to them.
        named |= {f"model.{n}": b.clone() for n, b in self.model.named_buffers()}
        mixed = self._task.precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, mixed):
            losses: Tensor = functional_call(self._loss, named, (batch,))
        return (losses.float() if mixed else losses).mean()[None]

    @torch.no_grad()
    def _flat(self, values: Sequence[Tensor]) -> Tensor:
        return flatten([value[None] for value in values])


def _slope(parameter: nn.Parameter) -> Tensor:
    """Return the gradient of a parameter as a dense tensor; 0 if it was not used."""
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    return parameter.grad.to_dense()


def _optimizer(task: TorchTask, trained: list[nn.Parameter]) -> torch.optim.Optimizer:
    decay, adam = task.weight_decay, (0.9, task.beta2)
    match task.optimizer:
        case "sgd" | "nesterov" as name:
            # torch rejects Nesterov with momentum 0. The first step replaces the 0.5.
            nesterov = name == "nesterov"
            return torch.optim.SGD(trained, 1.0, 0.5, weight_decay=decay, nesterov=nesterov)
        case "adam":
            return torch.optim.Adam(trained, 1.0, adam, task.epsilon, decay)
        case "adamw":
            return torch.optim.AdamW(trained, 1.0, adam, task.epsilon, decay)
        case name:
            raise RequestError(f"there is no optimizer {name!r}{closest(name, OPTIMIZERS)}")


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
