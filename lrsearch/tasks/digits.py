"""The task `digits`: scikit-learn's handwritten digits and an MLP.

1797 images of 8 x 8 pixels in ten classes; by default a stratified 30 % is held out. A laptop
trains a hundred of these networks in seconds, and a learning rate that is too high diverges, as in
larger tasks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from lrsearch.tasks.task import TorchTask

#: Seed of the split. It is fixed, so every run is validated on the same images.
SPLIT_SEED = 0
CLASSES, PIXELS, BRIGHTEST = 10, 64, 16.0


def digits(*, hidden: int, held_out: float, weight_decay: float) -> TorchTask:
    """Make the task `digits`: an MLP whose value is held-out cross-entropy in nats.

    Args:
        hidden: units in each of the two hidden layers.
        held_out: fraction of the images that is held out for validation.
        weight_decay: coefficient of the weight decay, as in `torch.optim.SGD`.
    """
    train, validation = split_digits(held_out)

    def model(generator: torch.Generator) -> nn.Module:
        return he_initialise(
            nn.Sequential(
                nn.Linear(PIXELS, hidden),
                nn.ReLU(),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Linear(hidden, CLASSES),
            ),
            generator,
        )

    return TorchTask(
        name="digits",
        model=model,
        loss=cross_entropy,
        metrics=accuracy,
        train=train,
        validation=validation,
        steps=400,
        batch=64,
        peak=(1e-3, 1.0),
        usual_peak=0.1,
        weight_decay=weight_decay,
        unit="nats",
        positive=True,
        untrained=math.log(CLASSES),
        options={"hidden": hidden, "held_out": held_out, "weight_decay": weight_decay},
    )


def split_digits(held_out: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return training and held-out images, shape `[N, 64]` in [0, 1], each with labels."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        torch.as_tensor(images / BRIGHTEST, dtype=torch.float32),
        torch.as_tensor(labels),
        test_size=held_out,
        stratify=labels,
        random_state=SPLIT_SEED,
    )
    return (parts[0], parts[2]), (parts[1], parts[3])


def cross_entropy(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cross-entropy of every sample in nats."""
    inputs, labels = batch
    logits: Tensor = model(inputs)
    return logits.logsumexp(-1) - logits.gather(-1, labels[..., None])[..., 0]


def accuracy(model: Any, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return for every sample True if it is classified correctly."""
    inputs, labels = batch
    return {"accuracy": model(inputs).argmax(-1) == labels}


def he_initialise(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Initialise in place: weights of variance 2/fan_in, biases 0 (He et al. 2015, eq. 12)."""
    for name, parameter in model.named_parameters():
        bound = math.sqrt(6.0 / parameter[0].numel()) if name.endswith("weight") else 0.0
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return model
