"""A population on a GPU: `python -m tests.bench.population_gpu [--device cpu] [TASK …]`.

It is compared with a plain PyTorch loop on the same device and on the machine's CPU, which may be
faster for such small models. The loops use `torch.optim`, have their data in device memory and
evaluate their loss once per run. Reported for each number of slots: the speed-up for steps alone
and for whole trials (data orders, initial parameters, reports, validation), the share of matrix
products in the time of a step, and the lower bound of that time: operations and bytes divided by
the rates that the device reaches.
"""

import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lrsearch import Schedule
from lrsearch.objectives.builtin import make
from lrsearch.run import Run
from lrsearch.training.data_order import TrainingData
from lrsearch.training.devices import deliberate
from lrsearch.training.plain import PlainRun
from lrsearch.training.population import Population
from tests.bench.machine import record
from tests.bench.population import plain, plan_of, together

CPU = torch.device("cpu")
SLOTS = (1, 16, 64, 256, 1024, 4096)
#: Largest number of steps in a timed block, seconds for three blocks, and steps to warm up.
UPDATES, SECONDS, WARM_UP = 100, 1.5, 40
#: No larger population is measured if a step takes longer than this, in seconds.
LONGEST = 0.4
#: By task: steps of a whole trial.
TASKS = {"digits": 200, "digits-cnn": 200, "two-moons": 200, "python-lm": 50}
#: Names of matrix products in profiles.
PRODUCTS = ("gemm", "gemv", "mm", "bmm", "addmm", "baddbmm", "cutlass", "conv", "attention")


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step, device, updates=UPDATES):
    """Return the seconds per step, the smallest mean of three blocks."""
    blocks = []
    for count in (2, updates, updates, updates):
        wait(device)
        began = time.perf_counter()
        count = count if not blocks else max(1, min(count, int(SECONDS / 3 / blocks[0])))
        for _ in range(count):
            step()
        wait(device)
        blocks.append((time.perf_counter() - began) / count)
    return min(blocks)


def run_of(objective, updates, trial=0):
    setup = objective.setup
    plan = (
        Schedule(peak=objective.task.peak[0], decay="constant")
        .with_momentum(setup.momentum)
        .plan(updates, setup.batch)
    )
    return Run(trial=trial, replicate=0, seed=trial % 2, plan=plan)


def rates(device):
    """Return the operations and bytes per second that the device reaches in float32."""
    side = 4096 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device)
    product = 2 * side**3 / seconds(lambda: a @ a, device, 10)
    b = torch.empty_like(a)
    copy = 2 * a.numel() * 4 / seconds(lambda: b.copy_(a), device, 10)
    return product, copy


def share_of_products(step, device):
    """Return the share of matrix products in the time of all operations."""
    kind = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    with profile(activities=[kind]) as seen:
        for _ in range(5):
            step()
        wait(device)
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    times = [(event.key.lower(), getattr(event, name)) for event in seen.key_averages()]
    total = sum(spent for _, spent in times)
    products = sum(spent for key, spent in times if any(p in key for p in PRODUCTS))
    return products / total if total else None


def floor_of(objective, device):
    """Return a lower bound of the seconds per step of a run, and figures of the device."""
    task = objective.task
    samples = TrainingData(task.train, device, independent=task.independent)
    run = PlainRun(task, samples, run_of(objective, 2), device)
    with FlopCounterMode(display=False) as counter:
        run.step()
    product, copy = rates(device)
    # A step at least reads and writes parameters and state, and reads gradients.
    floats = run.parameters * (7 if task.optimizer.startswith("adam") else 5)
    figures = {
        "parameters": run.parameters,
        "measured_tera_operations_a_second": round(product / 1e12, 3),
        "measured_gigabytes_a_second": round(copy / 1e9, 1),
    }
    return max(counter.get_total_flops() / product, 4 * floats / copy), figures


def rivals(objective, plan, device):
    """Return the seconds of a run by a plain loop on the device and on the CPU, best of three."""
    task = objective.task
    here, cpu = (
        min(plain(task, plan, foreach, where) for _ in range(3) for foreach in ways)
        for where, ways in ((device, (True,)), (CPU, (False, True)))
    )
    return here, cpu


def measure_steps(objective, slots, device):
    """Return seconds per step of all slots, share of products, and True if it is a CUDA graph."""
    population = Population(objective.task, slots, device, paddable=objective.batchable.paddable)
    length = WARM_UP + 3 * UPDATES + 20
    population.put([run_of(objective, length, i) for i in range(slots)])
    with deliberate(device):
        for _ in range(WARM_UP):
            population.step()
        one = seconds(population.step, device)
        return one, share_of_products(population.step, device), population._replay.enabled


def measure(name, device):
    objective, updates = make(name, device=str(device)), TASKS[name]
    plan = plan_of(objective, updates)
    floor, figures = floor_of(objective, device)
    here, cpu = rivals(objective, plan, device)
    figures["updates_a_trial"] = updates
    figures["plain_ms_a_trial"] = round(1000 * here, 3)
    figures["plain_ms_a_trial_on_cpu"] = round(1000 * cpu, 3)
    figures["by_slots"] = {}
    for slots in SLOTS if device.type == "cuda" else SLOTS[:3]:
        try:
            one, products, captured = measure_steps(objective, slots, device)
            together(objective, [plan] * 2, 2, device)
            whole = together(objective, [plan] * 2 * slots, slots, device) / (2 * slots)
        except torch.OutOfMemoryError:
            figures["by_slots"][slots] = "out of memory"
            break
        figures["by_slots"][slots] = {
            "step_ms": round(1000 * one, 4),
            "floor_ms": round(1000 * floor * slots, 4),
            "share_of_products": None if products is None else round(products, 3),
            "captured": captured,
            "updates_times_the_plain_loop": round(slots * here / updates / one, 2),
            "ms_a_trial": round(1000 * whole, 3),
            "times_the_plain_loop": round(here / whole, 2),
            "times_the_plain_loop_on_cpu": round(cpu / whole, 2),
        }
        print(name, slots, figures["by_slots"][slots], flush=True)
        if one > LONGEST or whole * slots > 10:
            break
    return figures


def main():
    words = sys.argv[1:]
    device = torch.device("cuda")
    if "--device" in words:
        at = words.index("--device")
        device = torch.device(words[at + 1])
        del words[at : at + 2]
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    figures = {"device": name, "threads": 1}
    for task in words or TASKS:
        figures[task] = measure(task, device)
        if device.type == "cuda":
            record("population_gpu", figures)


if __name__ == "__main__":
    main()
