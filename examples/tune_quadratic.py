"""Tune a schedule on an exact quadratic and compare it with the best possible schedule.

Nothing is trained: the expected loss of SGD is computed exactly, without noise. Sixty trials take
about ten seconds.
"""

import lrsearch

result = lrsearch.tune("quadratic", space="spline", trials=60, tracking_uri="none", compare=False)

best, reference = result.best, result.reference
print(f"best of {len(result.trials)} trials: {best.value:.6f} with {best.schedule}")
print(f"best possible with all rates free: {reference['optimum']:.6f}")
print(f"ratio: {reference['ratio']:.4f}")

# Trial 0 is the default schedule: a short warmup, then a cosine.
print(f"default schedule: {result.trials[0].value:.6f}")
