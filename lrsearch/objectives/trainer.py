"""`Trainer`: a `TorchTask` as an objective."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch

from lrsearch.contract import Runs, Setup
from lrsearch.objectives.alone import train_alone
from lrsearch.objectives.batchable import probe
from lrsearch.objectives.population import Population
from lrsearch.objectives.task import TorchTask
from lrsearch.result import Outcome

__all__ = ["Trainer"]

log = logging.getLogger("lrsearch")

#: Slots on a CPU: the time a trial is flat from there on (measured on the digits MLP).
SLOTS = 16
#: Parameters from which one run keeps a CPU core busy by itself: a population of the small GPT
#: (438 000) runs at .8 to .9 of the plain loop, of the digits MLP (9 000) at over 3 times.
FILLS_A_CORE = 200_000


class Trainer:
    """Trains the runs of a search as a population.

    Attributes:
        alone: whether runs are trained one by one, because they must or because it is faster.

    Args:
        task: what is trained.
        slots: the most runs in flight.
        device: where; None is the CPU.
    """

    def __init__(
        self, task: TorchTask, *, slots: int = SLOTS, device: torch.device | None = None
    ) -> None:
        self.task = task
        self.device = torch.device("cpu") if device is None else device
        self.batchable = probe(task)
        if self.batchable.reason:
            log.warning(
                "task %s is trained one run at a time: %s", task.name, self.batchable.reason
            )
        fills = self.device.type == "cpu" and self.batchable.parameters > FILLS_A_CORE
        self.alone = bool(self.batchable.reason) or fills
        slots = 1 if self.alone else slots
        self.slots = slots
        self.setup = Setup(
            name=task.name,
            unit=task.unit,
            about=task.about,
            steps=task.steps,
            batch=task.batch,
            entries=task.entries,
            habit_peak=task.habit_peak,
            positive=task.positive,
            untrained=task.untrained,
            slots=slots,
            options=task.options,
            version=task.version,
        )

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Trains the runs as a population, or one by one where that cannot be."""
        if self.alone:
            return train_alone(self.task, runs, self.device)
        paddable = self.batchable.paddable
        return Population(self.task, self.slots, self.device, paddable=paddable).train(runs)

    def optimum(self, steps: int, batch: int) -> float | None:
        """Unknown, as for every real task."""
        return None
