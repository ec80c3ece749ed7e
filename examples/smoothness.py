"""Compare measures of a schedule's smoothness on four decays, and with the values of a search.

F = Σ|η_t - η_{t-1}| is the same for all monotone decays between two rates. Writes smoothness.png.
"""

# %% Four decays from .1 to .001, and a moving average of each
from matplotlib.figure import Figure

import lrsearch
from lrsearch.diagnostics.plan_figures import diagnose_plan
from lrsearch.diagnostics.ranking import rank_by

decays = {
    "step": lrsearch.Schedule(peak=0.1, decay="step", drops=2, gamma=0.1),
    "cosine": lrsearch.Schedule(peak=0.1, floor=0.01),
    "linear": lrsearch.Schedule(peak=0.1, decay="polynomial", floor=0.01),
    "exponential": lrsearch.Schedule(peak=0.1, decay="exponential", rate=4.6),
}
names = ("total_variation", "quadratic_variation", "largest_jump", "second_variation")
print(f"{'':22s}" + "".join(f"{name:>21s}" for name in names))
for name, schedule in decays.items():
    for smoothing in (0.0, 0.1):
        plan = schedule.replace(smoothing=smoothing).plan(300, 1)
        figures = diagnose_plan(plan)
        label = f"{name}, smoothed" if smoothing else name
        print(f"{label:22s}" + "".join(f"{figures[measure]:21.6f}" for measure in names))

# %% Correlation with the value of trained networks, all at the same peak because it matters most
result = lrsearch.tune(
    "two-moons",
    space="full",
    settings={"peak": 0.5},
    trials=60,
    sampler="qmc",
    tracking_uri="none",
    study="smooth",
    compare=False,
)
for name in (*names, "rate_sum", "noise_scale_spread", "largest_deviation", "weight_norm"):
    print(f"{name:22s} rank correlation with the value {rank_by(result, name).correlation:+.2f}")

# %% Plot
figure = Figure(figsize=(9, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
for name, schedule in decays.items():
    left.plot(schedule.plan(300, 1).lr, label=name)
left.set(title="four shapes with the same F", xlabel="step", ylabel="learning rate")
left.legend(frameon=False)
x = [trial.diagnostics["total_variation"] for trial in result.ranked]
right.scatter(x, [trial.value for trial in result.ranked], s=14)
right.set(
    title="two-moons, space full, same peak", xlabel="F", ylabel="value (nats)", xscale="log"
)
figure.savefig("smoothness.png", dpi=120)
