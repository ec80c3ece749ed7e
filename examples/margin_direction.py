"""Which schedule turns a linear classifier towards the largest margin soonest?

On separable data all do that whose rates sum to infinity; what counts in a run that ends is the
sum: the angle shrinks like 1/log of it (Soudry et al. 2018, arXiv 1710.10345). Writes margin.png.
"""

# %% Separable points, a linear classifier, and four schedules of one peak
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
    trials=len(schedules),
    diagnostics="full",
    tracking_uri="none",
)

# %% Angle and margin at the end, and the sum of the rates
for name, trial in zip(schedules, result.trials, strict=True):
    seen = trial.diagnostics
    angle, margin, total = seen["svm_angle"], seen["margin"], seen["rate_sum"]
    print(f"{name:9s} angle {angle:.4f}, margin {margin:.3f}, sum of rates {total:.0f}")

# %% The picture
figure = Figure(figsize=(5.5, 3.6), layout="constrained")
axes = figure.subplots()
for name, trial in zip(schedules, result.trials, strict=True):
    trace = trial.outcomes[0].traces["svm_angle"]
    axes.loglog([t + 1 for t in trace.updates], trace.values, ".-", label=name)
axes.set(title="angle to the largest margin", xlabel="update", ylabel="radians")
axes.legend(frameon=False)
figure.savefig("margin.png", dpi=120)
