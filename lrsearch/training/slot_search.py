"""Choice of the number of slots: a few steps of a population and of a plain loop are timed.

A population with K slots needs the memory of K runs. It is faster while one run alone does not use
the whole device. If one run does, a plain loop is faster, and K is 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from lrsearch.errors import log
from lrsearch.run import Run
from lrsearch.schedule import Budget, Schedule
from lrsearch.tasks.task import TorchTask
from lrsearch.training.batchable import Batchable
from lrsearch.training.data_order import TrainingData
from lrsearch.training.devices import deliberate, free_bytes, is_out_of_memory, peak_bytes
from lrsearch.training.plain import PlainRun
from lrsearch.training.population import Population

#: Doubling the slots must save this fraction of the time per step and run.
GAIN = 0.1
#: Largest fraction of the free memory that a population may use.
SHARE = 0.7
#: Approximate seconds to time one number of slots, most steps in a timed block, number of blocks.
TIMED_SECONDS, TIMED_UPDATES, TIMED_BLOCKS = 0.3, 20, 3


def find_slots(
    task: TorchTask,
    batchable: Batchable,
    device: torch.device,
    most: int,
    budget: Budget,
) -> int:
    """Return the smallest power of two of slots beyond which more slots gain little.

    Args:
        task: the task that is trained.
        batchable: the result of `check_batchable` for the task.
        device: device to train on.
        most: largest number of slots.
        budget: steps and batch size of a run.

    Returns:
        The number of slots; 1 if a plain loop is faster.
    """
    trial = _Timing(task, batchable, device, budget)
    alone, best, fastest, slots = trial.alone(), 1, float("inf"), 2
    room, before = free_bytes(device), peak_bytes(device)
    while slots <= most:
        try:
            seconds = trial.together(slots)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        if seconds > (1 - GAIN) * fastest:
            break
        best, fastest = slots, seconds
        if 2 * (peak_bytes(device) - before) > SHARE * room:
            break
        slots *= 2
    if fastest > alone:
        best, fastest = 1, alone
    log.info("%d runs at once: measured %.1f times as fast as one by one", best, alone / fastest)
    return best


def is_faster_together(
    task: TorchTask,
    batchable: Batchable,
    device: torch.device,
    slots: int,
    budget: Budget,
) -> bool:
    """Return True if `slots` runs at once take less time per run than a plain loop.

    The other arguments are those of `find_slots`.
    """
    trial = _Timing(task, batchable, device, budget)
    return trial.together(slots) < trial.alone()


class _Timing:
    """Measures seconds per step and run, for a plain loop and for a population.

    The learning rate is constant, the smallest of the task's range.
    """

    def __init__(
        self, task: TorchTask, batchable: Batchable, device: torch.device, budget: Budget
    ) -> None:
        self._task, self._batchable, self._device = task, batchable, device
        updates = max(budget.steps, 2 + TIMED_UPDATES * (TIMED_BLOCKS + 1))
        schedule = Schedule(peak=task.peak[0], decay="constant", momentum=task.momentum)
        self._plan = schedule.plan(updates, min(budget.batch, task.samples))

    def alone(self) -> float:
        samples = TrainingData(self._task.train, self._device, independent=self._task.independent)
        plain = PlainRun(self._task, samples, self._run(0), self._device)
        with deliberate(self._device, plain.parameters):
            return self._seconds(plain.step)

    def together(self, slots: int) -> float:
        population = Population(self._task, slots, self._device, paddable=self._batchable.paddable)
        population.put([self._run(index) for index in range(slots)])
        with deliberate(self._device):
            return self._seconds(population.step) / slots

    def _run(self, index: int) -> Run:
        return Run(trial=index, replicate=0, seed=index % 2, plan=self._plan)

    def _seconds(self, step: Callable[[], object]) -> float:
        """Return the shortest mean time of a step over a few blocks, after two warm-up steps."""
        for _ in range(2):
            step()
        first = self._block(step, 1)
        updates = int(min(max(TIMED_SECONDS / TIMED_BLOCKS / first, 1), TIMED_UPDATES))
        blocks = TIMED_BLOCKS if first < TIMED_SECONDS else 1
        return min(first, *(self._block(step, updates) for _ in range(blocks)))

    def _block(self, step: Callable[[], object], updates: int) -> float:
        self._wait()
        began = time.perf_counter()
        for _ in range(updates):
            step()
        self._wait()
        return (time.perf_counter() - began) / updates

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
