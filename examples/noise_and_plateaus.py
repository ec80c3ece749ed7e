"""The same noise for every schedule: who plateaus, who anneals, and what a growing batch does.

The noisy quadratic model (Zhang et al. 2019, arXiv 1907.04164), exactly. Writes noise.png.
"""

# %% Schedules of one peak: constant, decays, and two with a batch that grows eightfold
from matplotlib.figure import Figure

import lrsearch
from lrsearch import theory
from lrsearch.quadratic import expected_loss, noisy_quadratic

STEPS, BATCH, PEAK = 20_000, 4, 0.1
problem = noisy_quadratic(100)
schedules = {
    "constant": lrsearch.Schedule(peak=PEAK, decay="constant"),
    "cosine": lrsearch.Schedule(peak=PEAK),
    "hyperbolic": theory.hyperbolic_schedule(PEAK, 0.0005, STEPS),
    "batch grows, rate too": theory.constant_noise_schedule(PEAK, 8),
    "batch grows alone": lrsearch.Schedule(peak=PEAK, decay="constant", batch_growth=8),
}
plans = {name: schedule.plan(STEPS, BATCH) for name, schedule in schedules.items()}
curves = dict(zip(plans, expected_loss(problem, list(plans.values())), strict=True))

# %% What each ends at; the noise scale says why
for name, plan in plans.items():
    scale = theory.noise_scale(plan.lr, plan.batch)
    change = scale[-2] / scale[0]  # the last batch is cut to the budget
    print(f"{name:22s} loss {curves[name][-1]:.4f}, noise scale {change:.2f} of its first")

# %% The picture
figure = Figure(figsize=(6.5, 3.8), layout="constrained")
axes = figure.subplots()
for name, curve in curves.items():
    seen = plans[name].batch.cumsum()
    axes.loglog(seen, curve[1:], label=name)
axes.set(title="one noise, one peak", xlabel="samples seen", ylabel="expected loss")
axes.legend(frameon=False)
figure.savefig("noise.png", dpi=120)
