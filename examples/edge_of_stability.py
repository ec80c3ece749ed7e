"""Full-batch gradient descent reaches the edge of stability; a decaying rate leaves it again.

Cohen et al. 2021 (arXiv 2103.00065): the sharpness λ_max rises until η·λ_max/2 = 1 and then stays
near it. Run it cell by cell or as a whole. Writes edge.png.
"""

# %% Full-batch training without momentum, with constant rates and cosines
from matplotlib.figure import Figure

import lrsearch

ALL = 1257  # number of training images of the digits task
shapes = {"constant": {"decay": "constant"}, "cosine": {"decay": "cosine"}}
results = {
    name: lrsearch.tune(
        "digits",
        space=lrsearch.Space(name=name, entries={**entries, "peak": 0.8, "momentum": 0.0}),
        enqueue=[lrsearch.Schedule(peak=peak, momentum=0.0, **entries) for peak in (0.1, 0.4)],
        trials=3,
        steps=400,
        batch=ALL,
        options={"hidden": 32},
        diagnostics="full",
        tracking_uri="none",
        study=f"edge-{name}",
        compare=False,
    )
    for name, entries in shapes.items()
}

# %% Largest and last η·λ_max/2 of every run
for name, result in results.items():
    for trial in sorted(result.trials, key=lambda trial: trial.schedule.peak):
        ratio = trial.outcomes[0].traces["stability_ratio"].values
        print(f"{name} {trial.schedule.peak}: largest {max(ratio):.2f}, last {ratio[-1]:.2f}")

# %% Plot
figure = Figure(figsize=(9, 3.6), layout="constrained")
for axes, (name, result) in zip(figure.subplots(1, 2, sharey=True), results.items(), strict=True):
    for trial in sorted(result.trials, key=lambda trial: trial.schedule.peak):
        trace = trial.outcomes[0].traces["stability_ratio"]
        axes.plot(trace.updates, trace.values, ".-", label=f"peak {trial.schedule.peak:g}")
    axes.axhline(1.0, color="tab:red", linewidth=1)
    axes.set(title=f"{name}, full batch", xlabel="step", ylabel="η·λ_max / 2")
    axes.legend(frameon=False)
figure.savefig("edge.png", dpi=120)
