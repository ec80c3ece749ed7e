"""Learning rate and momentum that are critically damped together, in two forms of momentum.

Critical damping is proved for a constant rate. While both change, torch's form of momentum does
not oscillate; the classical form does. Writes damping.png.
"""

# %% One mode: μ rises from ½ to .95 and η falls
import numpy as np
from matplotlib.figure import Figure

from lrsearch import theory
from lrsearch.quadratic import Optimizer, Quadratic, expected_loss

CURVATURE, STEPS = 4.0, 100
schedule = theory.critically_damped_schedule("nesterov", CURVATURE, (0.5, 0.95))
plan = schedule.plan(STEPS, 1)
print(schedule)


def descend(form):
    """Return θ on ½λθ² after every step, starting at 1 with velocity 0."""
    theta, v, path = 1.0, 0.0, [1.0]
    for eta, mu in zip(plan.lr, plan.momentum, strict=True):
        if form == "torch":
            gradient = CURVATURE * theta
            v = mu * v + gradient
            theta -= eta * (gradient + mu * v)
        else:
            v = mu * v - eta * CURVATURE * (theta + mu * v)
            theta += v
        path.append(theta)
    return np.array(path)


paths = {form: descend(form) for form in ("torch", "classical")}
for form, path in paths.items():
    print(
        f"{form}: {int((path[1:] * path[:-1] < 0).sum())} sign changes, minimum {path.min():.1e}"
    )

# %% Check with the exact quadratic: without noise its expected loss is ½λθ²
problem = Quadratic(curvature=np.array([CURVATURE]), variance=np.zeros(1))
for form, path in paths.items():
    (curve,) = expected_loss(problem, [plan], Optimizer(form=form, nesterov=True))
    print(f"{form}: largest difference {np.abs(curve - CURVATURE / 2 * path**2).max():.0e}")

# %% Plot
figure = Figure(figsize=(9, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(plan.momentum, label="momentum")
left.plot(plan.lr * CURVATURE, label="η·λ")
left.set(title="critically damped schedule", xlabel="step")
for form, path in paths.items():
    right.plot(path, label=f"{form} form")
right.axhline(0, color="0.6", linewidth=0.8)
right.set(title="θ on one mode", xlabel="step", ylim=(-0.02, 0.1))
for axes in (left, right):
    axes.legend(frameon=False)
figure.savefig("damping.png", dpi=120)
