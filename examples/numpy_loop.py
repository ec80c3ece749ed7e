"""A training loop in plain NumPy that continues from its checkpoint after a crash.

`run.folder` is the folder of one run. A run that is restarted after a crash gets the same folder.
`run.note` stores further figures besides the value.
"""

import numpy as np

import lrsearch

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(size=20)
X = RANDOM.normal(size=(2000, 20)) * np.geomspace(1, 0.05, 20)
Y = X @ TRUTH + 0.1 * RANDOM.normal(size=2000)


@lrsearch.objective(unit="mean square", peak=(1e-2, 3.0), steps=300, batch=16, positive=True)
def regression(run):
    """Solve a least-squares problem by stochastic gradient descent."""
    checkpoint, begin, weights = run.folder / "weights.npy", 0, np.zeros(20)
    if checkpoint.exists():
        begin, *weights = np.load(checkpoint)
        begin, weights = int(begin), np.array(weights)
    for t in range(begin, len(run.plan)):
        # Seeded by run and update, so a continued run draws the same batches.
        rows = np.random.default_rng([run.seed, t]).integers(2000, size=run.plan.batch[t])
        error = X[rows] @ weights - Y[rows]
        weights = weights - run.plan.lr[t] * X[rows].T @ error / len(rows)
        run.report(t, float(np.mean(error**2)))
        if t % 100 == 99:
            np.save(checkpoint, [t + 1, *weights])
    run.note("distance", float(np.linalg.norm(weights - TRUTH)))
    return float(np.mean((X @ weights - Y) ** 2))


if __name__ == "__main__":
    result = lrsearch.tune(regression, space="wsd", trials=25, tracking_uri="none", compare=False)
    best = result.best
    print(f"{best.value:.5f} {result.unit}, distance {best.diagnostics['distance']:.3f}")
    print(result.to_frame().sort_values("value")[["value", "peak", "warmup", "hold"]].head(3))
