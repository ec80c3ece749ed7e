"""Compare constant rates, decaying rates and growing batches under the same gradient noise.

The expected loss of the noisy quadratic model (Zhang et al. 2019, arXiv 1907.04164) is computed
exactly. Writes noise.png.
"""

# %% Schedules with the same peak: constant, decaying, and two with a batch that grows eightfold
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

# %% Final loss, and the change of the noise scale that explains it
for name, plan in plans.items():
    scale = theory.noise_scale(plan.lr, plan.batch)
    change = scale[-2] / scale[0]  # the last batch is trimmed to the budget
    print(f"{name:22s} loss {curves[name][-1]:.4f}, noise scale {change:.2f} x its first value")

# %% Plot
figure = Figure(figsize=(6.5, 3.8), layout="constrained")
axes = figure.subplots()
for name, curve in curves.items():
    seen = plans[name].batch.cumsum()
    axes.loglog(seen, curve[1:], label=name)
axes.set(title="same noise, same peak", xlabel="samples seen", ylabel="expected loss")
axes.legend(frameon=False)
figure.savefig("noise.png", dpi=120)
