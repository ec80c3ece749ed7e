"""What diagnostics cost, and what a population saves: `python -m tests.bench.diagnostics`.

One core, one thread. Sharpness of 64 members of the digits' MLP on 64 rows in one pass, beside the
same 64 computed one by one, each by its own module and autograd, with the same number of products.
Then the time of whole searches at every level, levels taking turns.
"""

import sys
import time

import torch

from lrsearch.contract import NoProbes, Run
from lrsearch.diagnostics.curvature import HessianProduct, largest_eigenvalue, signs
from lrsearch.diagnostics.probes import LANCZOS, Diagnosis
from lrsearch.objectives.catalog import make
from lrsearch.objectives.population import Population
from lrsearch.objectives.program import Program
from tests.bench.machine import record
from tests.bench.population import Given, plan_of

CPU = torch.device("cpu")
MEMBERS, ROWS = 64, 64
#: Task: updates, runs, slots.
SEARCHES = {"digits": (400, 32, 16), "digits-cnn": (300, 8, 8), "two-moons": (200, 64, 16)}


def together(program, values, batch, device=CPU):
    """Sharpness of all members in one pass."""
    product = HessianProduct(lambda v: program.around(v, batch), values)
    return largest_eigenvalue(product, signs(values, 0), LANCZOS)[0].to(device)


def alone(task, values, batch):
    """Sharpness of one model by its own module: Lanczos with plain double backward."""
    model = task.model(torch.Generator().manual_seed(0)).eval()
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


def least(work, repeats):
    def seconds():
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(seconds() for _ in range(repeats))


def sharpness():
    task = make("digits").task
    program = Program(task, CPU)
    batch = tuple(part[:ROWS] for part in task.train)
    starts = [program.start(seed) for seed in range(MEMBERS)]
    values = [torch.stack(parts) for parts in zip(*starts, strict=True)]
    one_by_one = torch.cat([alone(task, start, batch) for start in starts])
    torch.testing.assert_close(together(program, values, batch), one_by_one, rtol=1e-3, atol=0)
    ours = least(lambda: together(program, values, batch), 5)
    rival = least(lambda: [alone(task, start, batch) for start in starts], 5)
    return {
        "members": MEMBERS,
        "rows": ROWS,
        "products": LANCZOS,
        "one_pass_ms": round(1000 * ours, 1),
        "one_by_one_ms": round(1000 * rival, 1),
        "times_faster": round(rival / ours, 2),
    }


def search(objective, plan, runs, slots, probes):
    """Seconds of a population, and of them in looks."""
    given = Given([Run(trial=i, replicate=0, seed=0, plan=plan) for i in range(runs)])
    given.probes = probes
    population = Population(objective.task, slots, CPU, paddable=objective.batchable.paddable)
    began = time.perf_counter()
    outcomes = list(population.train(given))
    setup = objective.setup
    outcomes = [probes.complete(setup, plan, outcome) for outcome in outcomes]
    return time.perf_counter() - began, sum(outcome.probing for outcome in outcomes)


def cost(name):
    """Time over that without diagnostics, the least of several turns."""
    updates, runs, slots = SEARCHES[name]
    objective = make(name)
    plan = plan_of(objective, updates)
    levels = {"none": NoProbes(), "cheap": Diagnosis("cheap"), "full": Diagnosis("full")}
    best = dict.fromkeys(levels, (float("inf"), 0.0))
    for _ in range(4):
        for level, probes in levels.items():
            best[level] = min(best[level], search(objective, plan, runs, slots, probes))
    plain = best["none"][0]
    figures = {"none_ms_a_trial": round(1000 * plain / runs, 2)}
    for level in ("cheap", "full"):
        seconds, looking = best[level]
        figures[f"{level}_adds_per_cent"] = round(100 * (seconds / plain - 1), 1)
        figures[f"{level}_of_which_looks"] = round(100 * looking / plain, 1)
    return figures


def main():
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(SEARCHES)
    costs = {name: cost(name) for name in names}
    record("diagnostics", {"threads": 1, "sharpness": sharpness(), "cost": costs})


if __name__ == "__main__":
    main()
