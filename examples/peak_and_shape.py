"""The peak matters more than the shape, and ranking shapes at too high a peak inverts the ranks.

Exact losses on the reference least-squares problem (256 modes, batch 4, 200 steps) of 300 shapes
from the space `spline`, at twenty peaks from .03 to 1 times the stability limit 2/λ_max. A two-way
analysis of variance of the log loss (at most log 1) gives the shares of peak and shape.
Then the shapes are ranked twice: all at the same peak, and each at its own best peak.
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
    """Return the final loss of every shape at every peak, shape `[shapes, peaks]`."""
    plans = [s.replace(peak=peak).plan(steps=200, batch=4) for s in shapes for peak in peaks]
    ends = [curve[-1] for curve in expected_loss(problem, plans)]
    return np.array(ends).reshape(len(shapes), len(peaks))


space, rng = lrsearch.Space.load("spline").with_entries({"peak": 1.0}), stream(0, "shapes")
points = [{name: rng.random() for name in space.free} for _ in range(300)]
drawn = losses([space.schedule(space.at(point)) for point in points])

values = np.log(np.minimum(drawn, 1.0))
shares = [values.mean(axis).var() / values.var() for axis in (0, 1)]
print(f"variance of the log loss: peak {shares[0]:.0%}, shape {shares[1]:.0%}, rest: interaction")

for fraction in (0.3, 0.6, 0.8):
    at = int(np.argmin(np.abs(np.log(peaks / limit / fraction))))
    rank = stats.spearmanr(drawn[:, at], drawn.min(1)).statistic
    common = f"{peaks[at] / limit:.2f} x limit"
    print(f"rank correlation, all at {common} vs. each at its best peak: {rank:+.2f}")

known = losses([baseline(name, 1.0) for name in BASELINES])
at = int(np.argmin(np.abs(np.log(peaks / limit / 0.6))))
for title, column in (("at 0.6 x limit", known[:, at]), ("at the best peak", known.min(1))):
    print(f"baselines {title}: {', '.join(list(BASELINES)[i] for i in np.argsort(column))}")
