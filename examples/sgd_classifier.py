"""A schedule for scikit-learn's `SGDClassifier`, applied batch by batch with `partial_fit`.

With `learning_rate="constant"`, `eta0` is the learning rate of the next call. `partial_fit` makes
one update per sample, so a step of the schedule is here one call on a small batch.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import lrsearch

X, Y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
FIT_X, HELD_X, FIT_Y, HELD_Y = train_test_split(X, Y, test_size=0.3, random_state=0, stratify=Y)


def fit(plan, seed, run=None):
    random = np.random.default_rng(seed)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=1.0, random_state=seed)
    for t, (lr, batch) in enumerate(plan):
        rows = random.integers(len(FIT_X), size=batch)
        model.set_params(eta0=lr)
        model.partial_fit(FIT_X[rows], FIT_Y[rows], classes=[0, 1])
        if run is not None and t % 10 == 9:
            run.report(t, log_loss(FIT_Y, model.predict_proba(FIT_X)))
    return model


@lrsearch.objective(unit="nats", peak=(1e-4, 0.3), steps=100, batch=8, positive=True)
def linear_classifier(run):
    return log_loss(HELD_Y, fit(run.plan, run.seed, run).predict_proba(HELD_X))


if __name__ == "__main__":
    result = lrsearch.tune(
        linear_classifier, trials=12, seeds=2, tracking_uri="none", compare=False
    )
    default, best = result.firsts["default"], result.best
    print(f"default schedule {default.value:.4f}, best {best.value:.4f} {result.unit}")
    model = fit(best.schedule.plan(steps=500, batch=8), seed=1)
    print(f"held-out accuracy after 500 steps: {model.score(HELD_X, HELD_Y):.3f}")
