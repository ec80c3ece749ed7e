"""A `TorchTask`: define the model, the loss and the data; many runs then train as one program.

lrsearch provides the slots, the seeds, the data order, the optimizer and the evaluation.
"""

import torch

import lrsearch


class Parabola(lrsearch.TorchTask):
    """Fit x² with a tiny network."""

    peak = (1e-3, 1.0)  # range of plausible learning rates
    steps, batch, optimizer = 100, 16, "sgd"

    @property
    def train(self):  # tensors with samples first, or a map-style dataset
        x = torch.linspace(-1, 1, 256)
        return x, x**2

    validation = train

    def model(self, generator):  # take all random numbers from the generator
        layers = torch.nn.Sequential(
            torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )
        for parameter in layers.parameters():
            torch.nn.init.uniform_(parameter, -1, 1, generator=generator)
        return layers

    def loss(self, model, batch):  # one loss per sample
        x, y = batch
        return (model(x[..., None])[..., 0] - y).square()


if __name__ == "__main__":
    result = lrsearch.tune(
        Parabola(), space="cosine", trials=20, tracking_uri="none", compare=False
    )
    print(f"best {result.best.value:.5f} {result.unit} with {result.best.schedule}")
