"""A population on a GPU: `python -m tests.bench.population_gpu [--device cpu] [TASK …]`.

Beside a plain PyTorch loop on the same device. Says how the factor grows with the number of slots,
which share of a step is spent in matrix products, and how far a step lies above its floor: its
operations and bytes over the rates that this device reaches.
"""

import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lrsearch import Schedule
from lrsearch.contract import Run
from lrsearch.objectives.alone import PlainRun
from lrsearch.objectives.catalog import make
from lrsearch.objectives.devices import deliberate
from lrsearch.objectives.population import Population
from lrsearch.objectives.samples import Samples
from tests.bench.machine import record

SLOTS = (1, 4, 16, 64, 256, 1024, 4096)
UPDATES, WARM_UP = 100, 40
#: What profilers call a product of matrices.
PRODUCTS = ("gemm", "gemv", "mm", "bmm", "addmm", "baddbmm", "cutlass", "conv", "attention")


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step, device, updates):
    """The least mean of three blocks of updates."""
    blocks = []
    for _ in range(3):
        wait(device)
        began = time.perf_counter()
        for _ in range(updates):
            step()
        wait(device)
        blocks.append((time.perf_counter() - began) / updates)
    return min(blocks)


def run_of(objective, updates, trial=0):
    setup = objective.setup
    plan = Schedule(peak=objective.task.peak[0], decay="constant").plan(
        updates, setup.batch, momentum=setup.momentum
    )
    return Run(trial=trial, replicate=0, seed=trial % 2, plan=plan)


def rates(device):
    """Operations and bytes a second that this device reaches in float32."""
    side = 4096 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device)
    product = 2 * side**3 / seconds(lambda: a @ a, device, 10)
    b = torch.empty_like(a)
    copy = 2 * a.numel() * 4 / seconds(lambda: b.copy_(a), device, 10)
    return product, copy


def share_of_products(step, device):
    """Time in matrix products over time in all operations."""
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


def measure(name, device, updates):
    objective = make(name, device=str(device))
    task, length = objective.task, WARM_UP + 3 * updates + 20
    samples = Samples(task.train, device, independent=task.independent)
    plain = PlainRun(task, samples, run_of(objective, length), device)
    with deliberate(device, plain.parameters):
        for _ in range(WARM_UP):
            plain.step()
        rival = seconds(lambda: plain.step().item(), device, updates)
        with FlopCounterMode(display=False) as counter:
            plain.step()
    operations = counter.get_total_flops()
    # Every update reads and writes parameters and state, and reads gradients, at the least.
    floats = plain.parameters * (7 if task.optimizer.startswith("adam") else 5)
    figures = {"plain_updates_a_second": round(1 / rival, 1), "by_slots": {}}
    product, copy = rates(device)
    figures["measured_tera_operations_a_second"] = round(product / 1e12, 3)
    figures["measured_gigabytes_a_second"] = round(copy / 1e9, 1)
    for slots in SLOTS if device.type == "cuda" else SLOTS[:3]:
        population = Population(task, slots, device, paddable=objective.batchable.paddable)
        population.put([run_of(objective, length, i) for i in range(slots)])
        try:
            with deliberate(device):
                for _ in range(WARM_UP):
                    population.step()
                one = seconds(population.step, device, updates)
                products = share_of_products(population.step, device)
        except torch.OutOfMemoryError:
            figures["by_slots"][slots] = "out of memory"
            break
        floor = slots * max(operations / product, 4 * floats / copy)
        figures["by_slots"][slots] = {
            "updates_a_second": round(slots / one, 1),
            "times_the_plain_loop": round(slots * rival / one, 2),
            "step_ms": round(1000 * one, 4),
            "floor_ms": round(1000 * floor, 4),
            "share_of_products": None if products is None else round(products, 3),
            "captured": population._replay.enabled,
        }
    return figures


def main():
    words = sys.argv[1:]
    device = torch.device("cuda")
    if "--device" in words:
        at = words.index("--device")
        device = torch.device(words[at + 1])
        del words[at : at + 2]
    names = words or ["digits", "digits-cnn", "python-lm"]
    updates = UPDATES if device.type == "cuda" else 5
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    figures = {task: measure(task, device, updates) for task in names}
    if device.type == "cuda":
        record("population_gpu", {"device": name, **figures})
    else:
        print(figures)


if __name__ == "__main__":
    main()
