"""The peak dwarfs the shape, and shapes ranked at one peak that is too high come out inverted.

On LR-ref, exactly: three hundred shapes of the space `spline` at twenty peaks from .03 to 1 of the
stability limit 2/λ_max. How much of the variance of the log loss (clipped at 1, the untrained
model's) is due to either is a two-way analysis of variance without noise. Then the shapes are
ranked twice: at one peak, and each at the best peak of its own.
"""

import numpy as np
from scipy import stats

import lrsearch
from lrsearch.baselines import BASELINES, baseline
from lrsearch.quadratic import expected_loss, lr_ref
from lrsearch.seeding import stream

problem = lr_ref()
limit = 2 / problem.curvature.max()
peaks = np.geomspace(0.03 * limit, limit, 20)


def losses(shapes):
    """The final loss of every shape at every peak, shape `[shapes, peaks]`."""
    plans = [s.replace(peak=peak).plan(steps=200, batch=4) for s in shapes for peak in peaks]
    ends = [curve[-1] for curve in expected_loss(problem, plans)]
    return np.array(ends).reshape(len(shapes), len(peaks))


space, rng = lrsearch.Space.load("spline").with_entries({"peak": 1.0}), stream(0, "shapes")
points = [{name: rng.random() for name in space.free} for _ in range(300)]
drawn = losses([space.schedule(space.at(point)) for point in points])

values = np.log(np.minimum(drawn, 1.0))
shares = [values.mean(axis).var() / values.var() for axis in (0, 1)]
print(f"variance of the log loss: peak {shares[0]:.0%}, shape {shares[1]:.0%}, the rest both")

for fraction in (0.3, 0.6, 0.8):
    at = int(np.argmin(np.abs(np.log(peaks / limit / fraction))))
    rank = stats.spearmanr(drawn[:, at], drawn.min(1)).statistic
    print(
        f"ranks at {peaks[at] / limit:.2f} of the limit and at each shape's own peak: {rank:+.2f}"
    )

known = losses([baseline(name, 1.0) for name in BASELINES])
at = int(np.argmin(np.abs(np.log(peaks / limit / 0.6))))
for title, column in (("at that middle peak", known[:, at]), ("at its own", known.min(1))):
    print(f"{title}: {', '.join(list(BASELINES)[i] for i in np.argsort(column))}")
