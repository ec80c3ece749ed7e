"""Rank schedules without training: compare the convex bound with the loss on exact quadratics.

The bound on the last iterate (Schaipp et al. 2025, arXiv 2501.18965) depends only on the learning
rates. The baselines and thirty random shapes, each at its best peak, are ranked by the bound and
by their loss on three quadratics. The ranks agree in short runs with additive noise, and hardly if
the noise vanishes at the optimum. Writes bound.png.
"""

# %% Shapes
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

import lrsearch
from lrsearch.baselines import BASELINES, baseline
from lrsearch.quadratic import expected_loss, lr_ref, noisy_quadratic
from lrsearch.seeding import stream
from lrsearch.theory import convex_bound_best

space, rng = lrsearch.Space.load("spline").with_entries({"peak": 1.0}), stream(0, "shapes")
shapes = {name: baseline(name, 1.0) for name in BASELINES}
for i in range(30):
    shapes[f"spline {i}"] = space.schedule(space.at({name: rng.random() for name in space.free}))

PROBLEMS = {
    "additive noise, 200 steps": (noisy_quadratic(256), 200, 4),
    "additive noise, 1000 steps": (noisy_quadratic(256), 1000, 16),
    "multiplicative noise, 200 steps": (lr_ref(), 200, 4),
}


# %% The best peak: in closed form for the bound, on a grid for the quadratic
def tuned_loss(problem, shape, steps, batch):
    peaks = np.geomspace(0.003, 1.0, 40) * problem.largest_rate
    plans = [shape.replace(peak=float(peak)).plan(steps, batch) for peak in peaks]
    return min(curve[-1] for curve in expected_loss(problem, plans))


found = {}
for title, (problem, steps, batch) in PROBLEMS.items():
    bounds = [convex_bound_best(shape.plan(steps, batch).lr)[1] for shape in shapes.values()]
    losses = [tuned_loss(problem, shape, steps, batch) for shape in shapes.values()]
    found[title] = bounds, losses, stats.spearmanr(bounds, losses).statistic
    print(f"{title}: Spearman's correlation over {len(shapes)} shapes {found[title][2]:+.2f}")

# %% Plot
figure = Figure(figsize=(12, 3.8), layout="constrained")
known = len(BASELINES)
for axes, (title, (bounds, losses, rank)) in zip(
    figure.subplots(1, 3), found.items(), strict=True
):
    axes.scatter(bounds[known:], losses[known:], s=12, color="0.6")
    for name, bound, loss in zip(BASELINES, bounds, losses, strict=False):
        axes.annotate(name, (bound, loss), fontsize=8)
        axes.plot(bound, loss, "o", color="tab:blue", markersize=4)
    axes.set(title=f"{title}: {rank:+.2f}", xlabel="convex bound", ylabel="expected loss")
figure.savefig("bound.png", dpi=120)
