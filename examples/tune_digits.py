"""Tune a schedule on a real task: an MLP on scikit-learn's handwritten digits.

Sixteen networks train at once as one tensor program. The recipe that is found is dimensionless:
draw it for a run of any length.
"""

import lrsearch

result = lrsearch.tune(
    "digits",
    space="cosine",
    settings={"peak": {"low": 0.01, "high": 0.5, "log": True}},
    trials=24,
    steps=150,
)
best = result.best
print(f"{result.counts}, best {best.value:.4f} {result.unit}")
print(f"held-out accuracy {best.diagnostics['accuracy']:.3f}")
print(best.schedule)

# Carry it to a longer run in any framework: one pair of numbers an update.
plan = best.schedule.plan(steps=5_000, batch=64)
for lr, batch in list(plan)[:3]:
    print(f"lr {lr:.6f}, batch {batch}")
