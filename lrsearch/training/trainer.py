"""`Trainer`, the objective that trains a `TorchTask`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from lrsearch.contract import Runs, Setup
from lrsearch.errors import log
from lrsearch.failure import reason_of
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.schedule import Budget
from lrsearch.tasks.structure import flat_task
from lrsearch.tasks.task import TorchTask
from lrsearch.training.batchable import check_batchable
from lrsearch.training.dataset import describe_data, task_origin
from lrsearch.training.devices import describe_device, find_device
from lrsearch.training.plain import train_alone
from lrsearch.training.population import Population
from lrsearch.training.saved_model import save_trained_model
from lrsearch.training.slot_search import find_slots, is_faster_together

#: Slots on a CPU. More hardly shorten the time per trial (measured on the digits' MLP).
CPU_SLOTS = 16
#: With at least this many independent runs, twice the slots train a third faster.
MANY_RUNS = 256


class Trainer:
    """Trains the runs of a search, as a population if that is possible and faster.

    Args:
        task: the task that is trained.
        device: device to train on; None for the first GPU, or the CPU if there is no GPU.
    """

    def __init__(self, task: TorchTask, *, device: torch.device | None = None) -> None:
        self.task = flat_task(task)
        self.device = find_device("auto") if device is None else device
        self.batchable = check_batchable(self.task)
        if self.batchable.reason:
            log.warning(
                "task %s is trained one run at a time: %s", task.name, self.batchable.reason
            )
        data = describe_data(self.task)
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
            loss_decreases=task.loss_decreases,
            slots=1 if self.batchable.reason else None,
            device=describe_device(self.device),
            weight_decay=task.weight_decay,
            data=data,
            options=task.options,
            version=task.version,
            origin=task_origin(task, self.task, data["digest"]),
        )

    def fit(self, most: int, budget: Budget, *, thorough: bool) -> int:
        """Return the number of slots to use; see `lrsearch.contract.Elastic`.

        On a GPU, several numbers are always timed. On a CPU, the default number is used unless a
        plain loop is faster, so that a search does not depend on the noise of a timing.
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
            log.warning(
                "task %s failed while it was timed, so runs train one by one: %s",
                self.task.name,
                reason_of(error),
            )
        return 1

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Train the runs as a population, or one by one if there is only one slot."""
        if self.batchable.reason or runs.slots == 1:
            return train_alone(self.task, runs, self.device)
        return Population(
            self.task, runs.slots, self.device, paddable=self.batchable.paddable
        ).train(runs)

    def save_model(self, plan: Plan, seed: int, folder: Path) -> dict[str, str]:
        """Train a plan again and save its model; see `lrsearch.training.saved_model`."""
        return save_trained_model(self.task, plan, seed, self.device, folder)

    def optimum(self, budget: Budget) -> float | None:
        """Return None: the optimum of a trained model is unknown."""
        return None
