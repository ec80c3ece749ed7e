"""Image tasks: `digits-cnn`, and `cifar10`, whose data the user downloads."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lrsearch.errors import RequestError
from lrsearch.tasks.digits import accuracy, cross_entropy, he_initialise, split_digits
from lrsearch.tasks.task import TorchTask

CLASSES = 10
#: A record of CIFAR-10's binary version: one byte for the label, then 3 planes of 32 x 32 bytes.
SIDE, PLANES = 32, 3
RECORD = 1 + PLANES * SIDE * SIDE
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE = "test_batch.bin"
#: Means and standard deviations of the training images' channels, scaled to [0, 1].
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def digits_cnn(*, channels: int) -> TorchTask:
    """Make the task `digits-cnn`: a small CNN, trained with Adam on scikit-learn's digits.

    Args:
        channels: output channels of the first convolution; the second has twice this number.
    """
    train, validation = ((x.view(-1, 1, 8, 8), labels) for x, labels in split_digits(0.3))

    def model(generator: torch.Generator) -> nn.Module:
        return he_initialise(
            nn.Sequential(
                nn.Conv2d(1, channels, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(channels, 2 * channels, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(-3),
                nn.Linear(2 * channels * 4, CLASSES),
            ),
            generator,
        )

    return TorchTask(
        name="digits-cnn",
        model=model,
        loss=cross_entropy,
        metrics=accuracy,
        train=train,
        validation=validation,
        optimizer="adam",
        steps=300,
        batch=32,
        peak=(1e-4, 1e-1),
        usual_peak=3e-3,
        unit="nats",
        positive=True,
        untrained=math.log(CLASSES),
        options={"channels": channels},
    )


def cifar10(*, data: str) -> TorchTask:
    """Make the task `cifar10`: the CNN of Naganuma et al. 2026 (arXiv 2603.10301) on CIFAR-10.

    1.07 million parameters: convolution 3 x 3 x 32, pooling, convolution 3 x 3 x 64, pooling,
    dense 256, dense 10. Trained with Adam, without augmentation.

    Args:
        data: folder with the binary version of CIFAR-10, `cifar-10-batches-bin`.

    Raises:
        RequestError: a file is missing or is not in this format.
    """

    def model(generator: torch.Generator) -> nn.Module:
        return he_initialise(
            nn.Sequential(
                nn.Conv2d(PLANES, 32, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(32, 64, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(-3),
                nn.Linear(64 * 8 * 8, 256),
                nn.ReLU(),
                nn.Linear(256, CLASSES),
            ),
            generator,
        )

    folder = Path(data)
    return TorchTask(
        name="cifar10",
        model=model,
        loss=cross_entropy,
        metrics=accuracy,
        train=read_cifar10([folder / name for name in TRAIN_FILES]),
        validation=read_cifar10([folder / TEST_FILE]),
        optimizer="adam",
        steps=2000,
        batch=128,
        peak=(1e-5, 1e-2),
        usual_peak=1e-3,
        unit="nats",
        positive=True,
        untrained=math.log(CLASSES),
    )


def read_cifar10(files: list[Path]) -> tuple[Tensor, Tensor]:
    """Return normalised images of shape `[N, 3, 32, 32]` and their labels.

    Raises:
        RequestError: a file is missing, or is not in the format of CIFAR-10's binary version.
    """
    parts = []
    for path in files:
        try:
            content = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise RequestError(
                f"cannot read {path}: {error.strerror}; give the folder of CIFAR-10's binary "
                'version with `options={"data": FOLDER}`'
            ) from error
        if not len(content) or len(content) % RECORD or content[::RECORD].max() >= CLASSES:
            raise RequestError(
                f"{path} is not a file of CIFAR-10's binary version; unpack "
                "cifar-10-binary.tar.gz and give its folder"
            )
        parts.append(content.reshape(-1, RECORD))
    records = torch.from_numpy(np.concatenate(parts))
    images = records[:, 1:].view(-1, PLANES, SIDE, SIDE).float() / 255
    mean, deviation = (torch.tensor(v).view(-1, 1, 1) for v in (MEAN, DEVIATION))
    return (images - mean) / deviation, records[:, 0].long()
