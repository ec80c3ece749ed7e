"""A population compared with a plain PyTorch loop: `python -m tests.bench.population [TASK …]`.

One core, one thread. The loop trains the same runs one after another with `torch.optim`, with or
without foreach, whichever is faster. Its data is already in memory, and it evaluates its loss once
per run.
"""

import sys
import time

import torch

from lrsearch import Schedule
from lrsearch.contract import Probes
from lrsearch.objectives.builtin import make
from lrsearch.run import Run
from lrsearch.schedule import Budget
from lrsearch.training.data_order import sample_order
from lrsearch.training.population import Population
from tests.bench.machine import record

CPU = torch.device("cpu")
#: By task: steps, trials of the population, slots, trials of the plain loop.
TASKS = {
    "digits": (200, 128, (16, 32, 128), 12),
    "digits-cnn": (60, 32, (8, 16, 32), 6),
    "two-moons": (200, 128, (16, 128), 6),
    "linear-regression": (200, 128, (16, 128), 12),
    "python-lm": (6, 8, (4, 8), 3),
}


class Given:
    """A source of given runs."""

    probes = Probes()

    def __init__(self, runs):
        self.runs = runs

    def take(self, room):
        taken, self.runs = self.runs[:room], self.runs[room:]
        return taken


def plan_of(objective, updates, scale=1.0):
    setup = objective.setup
    peak = (setup.usual_peak or setup.entries["peak"].middle) * scale
    return Schedule(peak=peak).with_momentum(setup.momentum).plan(updates, setup.batch)


def plain(task, plan, foreach, device=CPU):
    """Return the seconds of one run by a plain loop, with its data already on the device."""
    train = tuple(part.to(device) for part in task.train)
    validation = tuple(part.to(device) for part in task.validation)
    began = time.perf_counter()
    model = task.model(torch.Generator().manual_seed(0)).to(device)
    words = {"lr": 1.0, "weight_decay": task.weight_decay, "foreach": foreach}
    if task.optimizer in ("sgd", "nesterov"):
        optimizer = torch.optim.SGD(model.parameters(), momentum=task.momentum, **words)
    else:
        kind = torch.optim.AdamW if task.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(model.parameters(), betas=(task.momentum, task.beta2), **words)
    order = torch.from_numpy(sample_order(0, task.samples, plan.samples)).to(device)
    begin = 0
    for lr, batch in plan:
        optimizer.param_groups[0]["lr"] = lr
        index = order[begin : begin + batch]
        begin += batch
        loss = task.loss(model, tuple(part[index] for part in train)).mean()
        optimizer.zero_grad()
        loss.backward()
        if task.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), task.clip)
        optimizer.step()
    with torch.no_grad():
        task.loss(model.eval(), validation).mean().item()
    return time.perf_counter() - began


def together(objective, plans, slots, device=CPU):
    """Return the seconds in which a population trains all plans."""
    untrained = objective.setup.untrained
    runs = [
        Run(trial=i, replicate=0, seed=0, plan=plan, untrained=untrained, stops=False)
        for i, plan in enumerate(plans)
    ]
    paddable = objective.batchable.paddable
    population = Population(objective.task, slots, device, paddable=paddable)
    began = time.perf_counter()
    outcomes = list(population.train(Given(runs)))
    assert len(outcomes) == len(plans)
    return time.perf_counter() - began


def waves(objective, plans, slots):
    """Return the seconds without refill: the next group starts when the previous one has ended."""
    return sum(
        together(objective, plans[begin : begin + slots], slots)
        for begin in range(0, len(plans), slots)
    )


def measure(name):
    updates, trials, slots, repeats = TASKS[name]
    objective = make(name)
    plan = plan_of(objective, updates)
    plain(objective.task, plan, False)
    loops = {f: min(plain(objective.task, plan, f) for _ in range(repeats)) for f in (0, 1)}
    rival = min(loops.values())
    figures = {"updates": updates, "trials": trials, "plain_ms_a_trial": round(1000 * rival, 2)}
    together(objective, [plan] * 2, 2)
    for count in slots:
        seconds = min(together(objective, [plan] * trials, count) for _ in range(2)) / trials
        figures[f"slots_{count}_ms_a_trial"] = round(1000 * seconds, 2)
        figures[f"slots_{count}_times_the_plain_loop"] = round(rival / seconds, 2)
    budget = Budget(steps=objective.setup.steps, batch=objective.setup.batch)
    figures["slots_by_default"] = objective.fit(100, budget, thorough=False)
    return figures


def refill():
    """Compare the throughput with two simpler designs if half of the trials diverge early.

    Idle slots: no refill, and a slot whose run has ended is computed until the group ends.
    Shrinking waves: no refill, and a slot whose run has ended is not computed.
    """
    objective = make("digits")
    good, bad = plan_of(objective, 200), plan_of(objective, 200, scale=1e9)
    plans, figures = [good, bad] * 64, {}
    for slots in (8, 16):
        ours = together(objective, plans, slots)
        idle = waves(objective, [good] * len(plans), slots)
        shrinking = waves(objective, plans, slots)
        figures[f"slots_{slots}_over_idle_slots"] = round(idle / ours, 2)
        figures[f"slots_{slots}_over_shrinking_waves"] = round(shrinking / ours, 2)
    return figures


def main():
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(TASKS)
    figures = {name: measure(name) for name in names}
    record("population", {"threads": 1, **figures, "half_diverge": refill()})


if __name__ == "__main__":
    main()
