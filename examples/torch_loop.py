"""Tune the schedule of a PyTorch training loop, then train longer with the best schedule.

Decorate a function that trains once and returns the value. Read learning rates from `run.plan`,
seed all random numbers with `run.seed`, and report losses so that diverged runs end early.
"""

import torch
from torch import nn

import lrsearch

X = torch.linspace(-3, 3, 512)[:, None]
Y = torch.sin(2 * X) + 0.1 * torch.randn(512, 1, generator=torch.Generator().manual_seed(0))


def build(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )


@lrsearch.objective(unit="mean square", peak=(1e-3, 1.0), steps=200, batch=32, momentum=0.9)
def sine(run):
    """Fit a sine with a small network."""
    model, order = build(run.seed), torch.Generator().manual_seed(run.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for t, (lr, batch) in enumerate(run.plan):
        optimizer.param_groups[0]["lr"] = lr
        rows = torch.randint(len(X), (batch,), generator=order)
        loss = nn.functional.mse_loss(model(X[rows]), Y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(t, loss.item())
    with torch.no_grad():
        return nn.functional.mse_loss(model(X), Y).item()


if __name__ == "__main__":
    current = lrsearch.Schedule(peak=0.03, decay="constant")  # the schedule in use today
    result = lrsearch.tune(sine, space="cosine", trials=16, current=current, tracking_uri="none")
    best = result.recommended  # after a comparison on fresh seeds
    print(f"current {result.trials[0].value:.4f}, best {best.value:.4f} {result.unit}")

    # A schedule has no fixed length: here it is used for five times the steps.
    model = build(seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lrsearch.export.to_torch(best.schedule.plan(1000), optimizer)
    for _ in range(1000):
        rows = torch.randint(len(X), (32,))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X[rows]), Y[rows]).backward()
        optimizer.step()
        scheduler.step()
    print(f"loss after 1000 steps: {nn.functional.mse_loss(model(X), Y).item():.4f}")
