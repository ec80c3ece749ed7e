"""Tune a schedule on an exact quadratic, and compare with the best that any schedule could do.

Nothing is trained: the proxy computes the expected loss of SGD exactly, so two hundred trials take
some twenty seconds and the answer has no noise.
"""

import lrsearch

result = lrsearch.tune("quadratic", space="spline", trials=60, tracking_uri="none")

best, reference = result.best, result.reference
print(f"best of {len(result.trials)} trials: {best.value:.6f} with {best.schedule}")
print(f"best possible with every rate free: {reference['optimum']:.6f}")
print(f"ratio: {reference['ratio']:.4f}")

# Trial 0 is the default schedule: a short warmup, then a cosine.
print(f"default: {result.trials[0].value:.6f}")
