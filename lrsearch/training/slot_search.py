"""How many runs to advance at once: measured on the first updates, beside a plain loop.

A population of K costs the memory of K runs and pays as long as one run does not fill the device.
Where one run does, a plain loop is faster, and K is 1.
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

#: Twice as many slots must save this fraction of the time an update and run.
GAIN = 0.1
#: Fraction of the free memory that a population may take.
SHARE = 0.7
#: Seconds spent on one number of slots, about; and the most updates in a block that is timed.
TIMED_SECONDS, TIMED_UPDATES, TIMED_BLOCKS = 0.3, 20, 3


def find_slots(
    task: TorchTask,
    batchable: Batchable,
    device: torch.device,
    most: int,
    budget: Budget,
) -> int:
    """The number of slots, a power of two, from which on more of them gain little.

    Args:
        task: what is trained.
        batchable: what was found out about it.
        device: where.
        most: the largest number that is wanted.
        budget: of a run.
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
    log.info("%d runs at once, %.1f times a plain loop (measured)", best, alone / fastest)
    return best


def is_faster_together(
    task: TorchTask,
    batchable: Batchable,
    device: torch.device,
    slots: int,
    budget: Budget,
) -> bool:
    """Whether so many runs at once take less time each than a plain loop; as for `find_slots`."""
    trial = _Timing(task, batchable, device, budget)
    return trial.together(slots) < trial.alone()


class _Timing:
    """Seconds an update and run, in both ways, at the least rate that the task knows."""

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
        """The least mean over a few blocks of updates, after the first two."""
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
