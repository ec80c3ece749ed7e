"""`Trainer`: a `TorchTask` as an objective."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from lrsearch.contract import Runs, Setup
from lrsearch.objectives.population import Population
from lrsearch.objectives.task import TorchTask
from lrsearch.result import Outcome

__all__ = ["Trainer"]

#: Slots on a CPU: the time a trial is flat from there on (measured on the digits MLP).
SLOTS = 16


class Trainer:
    """Trains the runs of a search as a population.

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
        """Trains the runs as a population."""
        return Population(self.task, self.slots, self.device).train(runs)

    def optimum(self, steps: int, batch: int) -> float | None:
        """Unknown, as for every real task."""
        return None
