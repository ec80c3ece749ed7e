"""Transfer learning: the new head uses the plan's rate, the pretrained body a fraction of it.

Exported schedulers keep the ratio of parameter groups. Three fractions are compared.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import lrsearch

IMAGES, LABELS = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
IMAGES = IMAGES.float() / 16
OLD, NEW = (torch.nonzero(which)[:, 0] for which in (LABELS < 5, LABELS >= 5))
FEW, REST = NEW[:100], NEW[100:]  # pretrain on 0 to 4, transfer to 100 images of 5 to 9


def fit(body, head, optimizer, rows, offset, plan, seed, run=None):
    scheduler = lrsearch.export.to_torch(plan, optimizer)
    order = torch.Generator().manual_seed(seed)
    for t in range(len(plan)):
        batch = rows[torch.randint(len(rows), (32,), generator=order)]
        logits = head(body(IMAGES[batch]))
        loss = nn.functional.cross_entropy(logits, LABELS[batch] - offset)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if run is not None:
            run.report(t, loss.item())


torch.manual_seed(0)
BODY, HEAD = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 5)
BOTH = torch.optim.SGD([*BODY.parameters(), *HEAD.parameters()], lr=0.1, momentum=0.9)
fit(BODY, HEAD, BOTH, OLD, 0, lrsearch.Schedule(peak=0.1).plan(300), 0)
PRETRAINED = {name: value.clone() for name, value in BODY.state_dict().items()}


def transfer(fraction):
    @lrsearch.objective(name=f"transfer-{fraction}", unit="nats", peak=(1e-3, 1.0), steps=100)
    def train(run):
        torch.manual_seed(run.seed)
        body, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 5)
        body.load_state_dict(PRETRAINED)
        groups = [{"params": head.parameters(), "lr": 1.0}]  # the first group uses the plan's rate
        groups += [{"params": body.parameters(), "lr": fraction}]
        optimizer = torch.optim.SGD(groups, momentum=0.9)
        fit(body, head, optimizer, FEW, 5, run.plan, run.seed, run)
        logits = head(body(IMAGES[REST]))
        return nn.functional.cross_entropy(logits, LABELS[REST] - 5).item()

    return train


for fraction in (0.01, 0.1, 1.0):
    result = lrsearch.tune(
        transfer(fraction), space="cosine", trials=10, tracking_uri="none", compare=False
    )
    best = result.best
    warmup = f"warmup {best.schedule.warmup:.2f}, peak {best.schedule.peak:.3g}"
    print(f"body at {fraction:4} of the head's rate: {best.value:.4f} {result.unit}, {warmup}")
