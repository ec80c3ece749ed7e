"""Cost of diagnostics, and speed-up by a population: `python -m tests.bench.diagnostics [cuda]`.

One core, one thread. First the sharpness of 64 members of the digits' MLP on 64 rows in one pass,
compared with computing the 64 one by one, each with its own module and autograd, and the same
number of products. Then the median time ratio of whole searches at every level; levels take turns.
On a GPU the runs have different lengths, so they start, end and are measured at different times.
"""

import statistics
import sys
import time

import torch

from lrsearch.contract import Probes
from lrsearch.diagnostics.costs import LANCZOS
from lrsearch.diagnostics.curvature import HessianProduct, largest_eigenvalue, signs
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.objectives.builtin import make
from lrsearch.run import Run
from lrsearch.training.functional_task import FunctionalTask
from lrsearch.training.population import Population
from tests.bench.machine import record
from tests.bench.population import Given, plan_of

CPU = torch.device("cpu")
MEMBERS, ROWS = 64, 64
#: By task: steps, runs and slots.
SEARCHES = {
    "cpu": {"digits": (400, 32, 16), "digits-cnn": (300, 8, 8), "two-moons": (200, 64, 16)},
    "cuda": {"digits": (1000, 768, 256), "digits-cnn": (1000, 192, 64)},
}
#: Repetitions of every level.
TURNS = {"cpu": 9, "cuda": 3}


def one_pass(program, values, batch):
    """Return the sharpness of all members, computed at once."""
    product = HessianProduct(lambda v: program.around(v, batch), values)
    return largest_eigenvalue(product, signs(values, 0), LANCZOS)[0]


def alone(task, model, values, batch):
    """Return the sharpness of one model: Lanczos with plain double backward on its module."""
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
    parameters = list(model.parameters())
    loss = task.loss(model, batch).mean()
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)

    def product(vectors):
        inner = [v[0] for v in vectors]
        out = torch.autograd.grad(gradient, parameters, inner, retain_graph=True)
        return [o[None] for o in out]

    start = signs([p.detach()[None] for p in parameters], 0)
    return largest_eigenvalue(product, start, LANCZOS)[0]


def least(work, repeats, device):
    """Return the seconds of the fastest repetition."""

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def seconds():
        wait()
        began = time.perf_counter()
        work()
        wait()
        return time.perf_counter() - began

    return min(seconds() for _ in range(repeats))


def sharpness(device):
    task = make("digits", device="cpu").task
    program = FunctionalTask(task, device)
    batch = tuple(part[:ROWS].to(device) for part in task.train)
    starts = [program.start(seed) for seed in range(MEMBERS)]
    values = [torch.stack(parts) for parts in zip(*starts, strict=True)]
    model = task.model(torch.Generator().manual_seed(0)).to(device).eval()

    def singles():
        return torch.cat([alone(task, model, start, batch) for start in starts])

    torch.testing.assert_close(one_pass(program, values, batch), singles(), rtol=1e-3, atol=0)
    ours = least(lambda: one_pass(program, values, batch), 7, device)
    rival = least(singles, 5, device)
    single = least(lambda: alone(task, model, starts[0], batch), 20, device)
    return {
        "members": MEMBERS,
        "rows": ROWS,
        "products": LANCZOS,
        "one_pass_ms": round(1000 * ours, 2),
        "one_by_one_ms": round(1000 * rival, 2),
        "times_faster": round(rival / ours, 2),
        "one_pass_over_one_member": round(ours / single, 2),
    }


def search(objective, plans, slots, probes, device):
    """Return the seconds of a population, and the part spent in diagnostics."""
    given = Given([Run(trial=i, replicate=0, seed=0, plan=plan) for i, plan in enumerate(plans)])
    given.probes = probes
    population = Population(objective.task, slots, device, paddable=objective.batchable.paddable)
    began = time.perf_counter()
    outcomes = list(population.train(given))
    setup = objective.setup
    outcomes = [probes.complete(setup, plans[o.trial], o) for o in outcomes]
    return time.perf_counter() - began, sum(outcome.probing for outcome in outcomes)


def cost(name, device):
    """Return the time that each level adds to a search without diagnostics, in per cent."""
    updates, runs, slots = SEARCHES[device.type][name]
    objective = make(name, device=str(device))
    shorter = [1.0] if device.type == "cpu" else [1.0, 0.9, 0.8]
    plans = [plan_of(objective, int(updates * shorter[i % len(shorter)])) for i in range(runs)]
    levels = {"none": Probes(), "cheap": Diagnosis("cheap"), "full": Diagnosis("full")}
    ratios = {level: [] for level in levels}
    search(objective, plans, slots, levels["none"], device)
    for _ in range(TURNS[device.type]):
        turn = {level: search(objective, plans, slots, p, device) for level, p in levels.items()}
        plain = turn["none"][0]
        for level, (seconds, looking) in turn.items():
            ratios[level].append((seconds / plain - 1, looking / plain))
    figures = {}
    for level in ("cheap", "full"):
        adds, looks = (statistics.median(column) for column in zip(*ratios[level], strict=True))
        figures[f"{level}_adds_per_cent"] = round(100 * adds, 1)
        figures[f"{level}_of_which_looks"] = round(100 * looks, 1)
    return figures


def main():
    torch.set_num_threads(1)
    if "cuda" in sys.argv[1:]:
        device = torch.device("cuda", 0)
        name = torch.cuda.get_device_name(device)
        costs = {task: cost(task, device) for task in SEARCHES["cuda"]}
        record("diagnostics_gpu", {"device": name, "sharpness": sharpness(device), "cost": costs})
        return
    names = sys.argv[1:] or list(SEARCHES["cpu"])
    costs = {name: cost(name, CPU) for name in names}
    record("diagnostics", {"threads": 1, "sharpness": sharpness(CPU), "cost": costs})


if __name__ == "__main__":
    main()
