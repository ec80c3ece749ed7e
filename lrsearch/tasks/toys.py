"""Small tasks for experiments and teaching: `linear-regression` and `two-moons`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

from lrsearch.quadratic import lr_ref
from lrsearch.seeding import stream
from lrsearch.tasks.digits import accuracy, cross_entropy, he_initialise
from lrsearch.tasks.task import TorchTask

#: Seed of the generated data. It is fixed, so all studies have the same data.
DATA_SEED = 0


class _Weights(nn.Module):
    """A linear model without intercept, initialised to 0."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def linear_regression(*, modes: int) -> TorchTask:
    """Make the task `linear-regression`: least squares on D samples of D features, with SGD.

    This is the reference least-squares problem (256 modes, batch 4, 200 steps) with real
    minibatches. The second moments of the features have the eigenvalues of that problem, so the
    exact proxy `quadratic` predicts the value in the limit of many modes (Naganuma et al. 2026,
    arXiv 2603.10301). At 256 modes the value is a few per cent higher.

    Args:
        modes: D, the number of samples and of features.
    """
    problem = lr_ref(modes)
    generator = stream(DATA_SEED, "linear-regression", modes)
    basis, _ = np.linalg.qr(generator.standard_normal((modes, modes)))
    features = basis * np.sqrt(modes * problem.curvature)
    # Every mode starts with the same share of the loss, as in `quadratic`.
    targets = basis @ generator.choice([-1.0, 1.0], modes)
    data = (torch.from_numpy(features).float(), torch.from_numpy(targets).float())
    top = problem.largest_rate
    return TorchTask(
        name="linear-regression",
        model=lambda generator: _Weights(modes),
        loss=_half_squares,
        train=data,
        validation=data,
        independent=True,
        momentum=0.0,
        steps=200,
        batch=4,
        peak=(0.03 * top, top),
        unit="half mean square",
        positive=True,
        untrained=0.5,
        options={"modes": modes},
    )


def _half_squares(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    features, targets = batch
    error: Tensor = model(features) - targets
    return 0.5 * error.square()


def two_moons(*, hidden: int, noise: float) -> TorchTask:
    """Make the task `two-moons`: two interleaved half circles and a linear or tiny model.

    Args:
        hidden: units of the hidden layer; 0 for a linear model.
        noise: standard deviation of the points around their half circle.
    """
    points, labels = make_moons(800, noise=noise, random_state=DATA_SEED)
    inputs, classes = torch.from_numpy(points).float(), torch.from_numpy(labels)

    def model(generator: torch.Generator) -> nn.Module:
        last = nn.Linear(hidden or 2, 2)
        layers = nn.Sequential(last)
        if hidden:
            layers = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), last)
        he_initialise(layers, generator)
        nn.init.zeros_(last.weight)  # so that the initial loss is ln 2
        return layers

    return TorchTask(
        name="two-moons",
        model=model,
        loss=cross_entropy,
        metrics=accuracy,
        train=(inputs[:400], classes[:400]),
        validation=(inputs[400:], classes[400:]),
        steps=200,
        batch=16,
        peak=(1e-3, 3.0),
        usual_peak=0.1,
        unit="nats",
        positive=True,
        untrained=math.log(2),
        options={"hidden": hidden, "noise": noise},
    )
