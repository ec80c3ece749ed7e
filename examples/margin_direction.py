"""Compare how fast schedules turn a linear classifier to the max-margin direction.

On separable data every schedule whose rates sum to infinity converges to this direction. In a
finite run the sum decides: the angle falls like 1/log of the sum of the rates (Soudry et al. 2018,
arXiv 1710.10345). Writes margin.png.
"""

# %% Separable points, a linear classifier, and four schedules with the same peak
import torch
from matplotlib.figure import Figure

import lrsearch
from lrsearch import theory

PEAK, STEPS = 1.0, 2000
draw = torch.Generator().manual_seed(0)
labels = torch.arange(200) % 2
sides = 2.0 * labels[:, None] - 1
points = sides * torch.tensor([1.5, 0.5]) + 0.3 * torch.randn(200, 2, generator=draw)


class Points(lrsearch.TorchTask):
    peak, steps, batch, momentum = (0.1, 10.0), STEPS, 200, 0.0
    train = validation = (points, labels)

    def model(self, generator):
        layer = torch.nn.Linear(2, 2, bias=False)
        torch.nn.init.zeros_(layer.weight)
        return layer

    def loss(self, model, batch):
        logits = model(batch[0])
        return logits.logsumexp(-1) - logits.gather(-1, batch[1][:, None])[:, 0]


schedules = {
    "constant": lrsearch.Schedule(peak=PEAK, decay="constant"),
    "cosine": lrsearch.Schedule(peak=PEAK),
    "t^-0.6": theory.power_schedule(PEAK, 0.6, STEPS),
    "t^-1": theory.power_schedule(PEAK, 1.0, STEPS),
}
result = lrsearch.tune(
    Points(),
    enqueue=list(schedules.values()),
    trials=4,
    diagnostics="full",
    tracking_uri="none",
    compare=False,
)

# %% Final angle and margin, and the sum of the rates
for name, trial in zip(schedules, result.trials, strict=True):
    seen = trial.diagnostics
    angle, margin, total = seen["svm_angle"], seen["margin"], seen["rate_sum"]
    print(f"{name:9s} angle {angle:.4f}, margin {margin:.3f}, sum of rates {total:.0f}")

# %% Plot
figure = Figure(figsize=(5.5, 3.6), layout="constrained")
axes = figure.subplots()
for name, trial in zip(schedules, result.trials, strict=True):
    trace = trial.outcomes[0].traces["svm_angle"]
    axes.loglog([t + 1 for t in trace.updates], trace.values, ".-", label=name)
axes.set(title="angle to the max-margin direction", xlabel="step", ylabel="radians")
axes.legend(frameon=False)
figure.savefig("margin.png", dpi=120)
