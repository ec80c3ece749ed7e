"""A `TorchTask`: give the model, the loss and the data, and many runs train as one tensor program.

Slots, seeds, the order of the data, the optimizer's arithmetic and evaluation are lrsearch's.
"""

import torch

import lrsearch


class Parabola(lrsearch.TorchTask):
    """A tiny network learns x²."""

    peak = (1e-3, 1.0)  # the learning rates that make sense for it
    steps, batch, optimizer = 100, 16, "sgd"

    @property
    def train(self):  # tensors, first axis the sample, or a map-style dataset
        x = torch.linspace(-1, 1, 256)
        return x, x**2

    validation = train

    def model(self, generator):  # every random number from the generator
        layers = torch.nn.Sequential(
            torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )
        for parameter in layers.parameters():
            torch.nn.init.uniform_(parameter, -1, 1, generator=generator)
        return layers

    def loss(self, model, batch):  # one a sample
        x, y = batch
        return (model(x[..., None])[..., 0] - y).square()


if __name__ == "__main__":
    result = lrsearch.tune(Parabola(), space="cosine", trials=20, tracking_uri="none")
    print(f"best {result.best.value:.5f} {result.unit} with {result.best.schedule}")
