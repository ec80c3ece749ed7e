"""Test doubles that need torch: a small task, a plain training loop, and a task class.

They are not in `tests.doubles`, so that tests without torch do not import it.
"""

import dataclasses
import math

import torch
from torch import nn

from lrsearch import Schedule
from lrsearch.contract import Setup
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.run import Run
from lrsearch.tasks.digits import digits
from lrsearch.tasks.task import TorchTask
from lrsearch.training.data_order import sample_order
from lrsearch.training.plain import train_alone
from lrsearch.training.population import Population
from tests.doubles import Given

STEPS, BATCH = 120, 16
CPU = torch.device("cpu")
FULL = Diagnosis("full")

GROUP = [
    Schedule(peak=0.1, warmup=0.1),
    Schedule(peak=0.03, decay="step", momentum=0.5),
    Schedule(peak=0.05, batch_growth=4, coupling=1),
    Schedule(peak=300.0, decay="constant"),  # diverges
    Schedule(peak=0.1, momentum_rule="opposed", momentum_low=0.5),
    Schedule(peak=0.1, momentum=0.0),
]


def exact_task(**changes):
    """Return the task `digits` in float64, with these fields changed."""
    task = digits(hidden=16, held_out=0.3, weight_decay=0.0)
    inputs, labels = task.train
    held, held_labels = task.validation
    return dataclasses.replace(
        task,
        model=lambda generator: task.model(generator).double(),
        train=(inputs.double(), labels),
        validation=(held.double(), held_labels),
        **changes,
    )


def run_of(trial, schedule, seed=11, momentum=0.9):
    """Make a run of STEPS steps."""
    plan = schedule.with_momentum(momentum).plan(STEPS, BATCH)
    return Run(trial=trial, replicate=0, seed=seed, plan=plan, untrained=math.log(10))


def train(task, runs, slots):
    """Train runs as one population and yield their outcomes."""
    return Population(task, slots, CPU).train(runs)


def torch_optimizer(task, model):
    """Make the optimizer of `torch.optim` for a task."""
    betas = (task.momentum, task.beta2)
    words = {"lr": 0.1, "weight_decay": task.weight_decay}
    if task.optimizer in ("sgd", "nesterov"):
        # torch rejects Nesterov with momentum 0. The first step replaces the 0.9.
        nesterov = task.optimizer == "nesterov"
        return torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=nesterov, **words)
    kind = torch.optim.AdamW if task.optimizer == "adamw" else torch.optim.Adam
    return kind(model.parameters(), betas=betas, eps=task.epsilon, **words)


def alone(task, plan, seed):
    """Train one model by the simplest loop, one batch per step.

    Returns:
        The losses before every step, the validation value and the accuracy.
    """
    model = task.model(torch.Generator().manual_seed(seed))
    optimizer = torch_optimizer(task, model)
    group = optimizer.param_groups[0]
    inputs, labels = task.train
    order = sample_order(seed, len(labels), plan.samples)
    losses, begin = [], 0
    for lr, batch, momentum in zip(plan.lr, plan.batch, plan.momentum, strict=True):
        group["lr"] = float(lr)
        if "betas" in group:
            group["betas"] = (float(momentum), task.beta2)
        else:
            group["momentum"] = float(momentum)
        index = torch.from_numpy(order[begin : begin + batch])
        begin += batch
        loss = nn.functional.cross_entropy(model(inputs[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        if task.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), task.clip)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        outputs = model(task.validation[0])
        value = nn.functional.cross_entropy(outputs, task.validation[1]).item()
        accuracy = (outputs.argmax(1) == task.validation[1]).double().mean().item()
    return losses, value, accuracy


def ends(task, schedules, *, slots, probes=FULL, steps=60, batch=16, stops=True):
    """Train schedules and return their completed outcomes by trial."""
    plans = [s.with_momentum(task.momentum).plan(steps, batch) for s in schedules]
    runs = [
        Run(trial=i, replicate=0, seed=i % 2, plan=plan, stops=stops)
        for i, plan in enumerate(plans)
    ]
    given = Given(*runs, probes=probes)
    stream = (
        Population(task, slots, CPU).train(given) if slots > 1 else train_alone(task, given, CPU)
    )
    setup = Setup(name="x", unit="x", steps=steps, weight_decay=task.weight_decay)
    return {o.trial: probes.complete(setup, plans[o.trial], o) for o in stream}


class Line(TorchTask):
    """A task as a class, with fields as attributes, methods and properties."""

    peak = (1e-3, 0.3)
    steps = 40
    batch = 8
    momentum = 0.0
    unit = "square"

    @property
    def train(self):
        x = torch.linspace(-1, 1, 64)
        return x, 2 * x - 1

    def model(self, generator):
        return nn.Sequential(nn.Linear(1, 1))

    def loss(self, model, batch):
        x, y = batch
        return (model(x[..., None])[..., 0] - y).square()

    @staticmethod
    def evaluate(model):
        return float((model[0].weight.item() - 2) ** 2 + (model[0].bias.item() + 1) ** 2)
