"""`digits`: scikit-learn's handwritten digits and an MLP, trained as a population.

1797 images of 8 x 8 pixels, ten classes, three tenths held out, stratified. Small enough for a
laptop to train a hundred networks in seconds, and real enough for a rate that is too high to fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from lrsearch.contract import Runs, Setup
from lrsearch.objectives.population import Classification, train
from lrsearch.ranges import Range
from lrsearch.result import Outcome

__all__ = ["Digits"]

SLOTS = 16
#: The split is part of the task: every seed of a study is judged on the same images.
SPLIT_SEED = 0
CLASSES, PIXELS, BRIGHTEST = 10, 64, 16.0


class Digits:
    """The handwritten digits as an objective; the value is held-out cross-entropy in nats.

    Args:
        hidden: units in each of the two hidden layers.
        held_out: fraction of the images that training does not see.
        weight_decay: coefficient of the parameters in the gradient.
    """

    def __init__(self, *, hidden: int, held_out: float, weight_decay: float) -> None:
        self.setup = Setup(
            name="digits",
            unit="nats",
            steps=400,
            batch=64,
            entries={"peak": Range(low=1e-3, high=1.0, log=True), "momentum": 0.9},
            habit_peak=0.1,
            positive=True,
            untrained=math.log(CLASSES),
            slots=SLOTS,
            options={"hidden": hidden, "held_out": held_out, "weight_decay": weight_decay},
        )
        self._hidden = hidden
        images, labels = load_digits(return_X_y=True)
        parts = train_test_split(
            torch.as_tensor(images / BRIGHTEST, dtype=torch.float32),
            torch.as_tensor(labels),
            test_size=held_out,
            stratify=labels,
            random_state=SPLIT_SEED,
        )
        self.task = Classification(
            model=self._model,
            inputs=parts[0],
            labels=parts[2],
            held_out=(parts[1], parts[3]),
            weight_decay=weight_decay,
        )

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Trains the runs as populations."""
        return train(self.task, runs, SLOTS)

    def optimum(self, steps: int, batch: int) -> float | None:
        """Unknown, as for every real task."""
        return None

    def _model(self, generator: torch.Generator) -> nn.Module:
        model = nn.Sequential(
            nn.Linear(PIXELS, self._hidden),
            nn.ReLU(),
            nn.Linear(self._hidden, self._hidden),
            nn.ReLU(),
            nn.Linear(self._hidden, CLASSES),
        )
        for name, parameter in model.named_parameters():
            # He et al. 2015, equation 12: weights of variance 2/fan_in, biases 0.
            bound = math.sqrt(6.0 / parameter.shape[-1]) if name.endswith("weight") else 0.0
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        return model
