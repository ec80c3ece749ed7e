"""Tune the schedule of an MLP on scikit-learn's handwritten digits.

Sixteen networks train at once as one tensor program. The recommended schedule has no fixed length
and can be used for a run of any number of steps.
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
chosen = result.recommended  # from the comparison on fresh seeds with which the search ends
print(chosen.sentence)

# Use it for a longer run in any framework: one learning rate and batch size per step.
plan = chosen.schedule.plan(steps=5_000, batch=64)
for lr, batch in list(plan)[:3]:
    print(f"lr {lr:.6f}, batch {batch}")
