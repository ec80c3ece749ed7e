"""`Trainer`: a `TorchTask` as an objective."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from lrsearch.contract import Runs, Setup
from lrsearch.errors import log
from lrsearch.failure import reason_of
from lrsearch.plan import Plan
from lrsearch.result import Outcome
from lrsearch.schedule import Budget
from lrsearch.tasks.task import TorchTask
from lrsearch.training.batchable import check_batchable
from lrsearch.training.dataset import describe_data
from lrsearch.training.devices import describe_device, find_device
from lrsearch.training.plain import train_alone
from lrsearch.training.population import Population
from lrsearch.training.saved_model import save_trained_model
from lrsearch.training.slot_search import find_slots, is_faster_together

#: Slots on a CPU: the time a trial is nearly flat from there on (measured on the digits' MLP).
CPU_SLOTS = 16
#: From so many runs on, whose order nothing hangs on, twice as many slots gain a third.
MANY_RUNS = 256


class Trainer:
    """Trains the runs of a search, as a population where that is possible and faster.

    Args:
        task: what is trained.
        device: where; None is the first GPU, else the CPU.
    """

    def __init__(self, task: TorchTask, *, device: torch.device | None = None) -> None:
        self.task = task
        self.device = find_device("auto") if device is None else device
        self.batchable = check_batchable(task)
        if self.batchable.reason:
            log.warning(
                "task %s is trained one run at a time: %s", task.name, self.batchable.reason
            )
        self.setup = Setup(
            name=task.name,
            unit=task.unit,
            about=task.about,
            steps=task.steps,
            batch=task.batch,
            entries=task.entries,
            usual_peak=task.usual_peak,
            positive=task.positive,
            untrained=task.untrained,
            slots=1 if self.batchable.reason else None,
            device=describe_device(self.device),
            weight_decay=task.weight_decay,
            data=describe_data(task),
            options=task.options,
            version=task.version,
        )

    def fit(self, most: int, budget: Budget, *, thorough: bool) -> int:
        """How many runs to advance at once; see `lrsearch.contract.Elastic`.

        On a GPU the number is always looked for. On a CPU the usual one is taken unless a plain
        loop is faster, so that what a search asks does not hang on the noise of a measurement.
        """
        tried = (self.task, self.batchable, self.device)
        try:
            if thorough or self.device.type == "cuda":
                return find_slots(*tried, most, budget)
            slots = 2 * CPU_SLOTS if most >= MANY_RUNS else CPU_SLOTS
            usual = min(slots, 1 << (most.bit_length() - 1))
            if usual > 1 and is_faster_together(*tried, usual, budget):
                return usual
        except Exception as error:  # noqa: BLE001  # a user's task may raise anything
            log.warning("task %s fails when it is tried: %s", self.task.name, reason_of(error))
        return 1

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Trains the runs as a population, or one by one where there is one slot."""
        if self.batchable.reason or runs.slots == 1:
            return train_alone(self.task, runs, self.device)
        return Population(
            self.task, runs.slots, self.device, paddable=self.batchable.paddable
        ).train(runs)

    def save_model(self, plan: Plan, seed: int, folder: Path) -> dict[str, str]:
        """Trains a plan once more and writes its model; see `lrsearch.training.saved_model`."""
        return save_trained_model(self.task, plan, seed, self.device, folder)

    def optimum(self, budget: Budget) -> float | None:
        """Unknown, as for every real task."""
        return None
