"""Overhead of a search besides its objective: `python -m tests.bench.overhead [TRIALS]`.

500 trials of `quadratic` with the defaults, including tracking, compared with the same search
written directly: Optuna on SQLite with one `suggest_float` per field, MLflow's fluent API with one
`log_metric` per point. Both use the same sampler on the same objective; BLAS and OpenMP have one
thread.
"""

import contextlib
import math
import os
import sys
import tempfile
import time
from pathlib import Path

TRIALS = 500
#: Fewer trials for the plain search: it is slow, and linear in the trials except for the sampler.
PLAIN_TRIALS = 60


def ours(folder, trials):
    """Return seconds per trial, seconds per trial in the sampler, and the result."""
    import lrsearch
    from lrsearch.search.asking import Asker

    asked = [0.0]
    ask = Asker.ask

    def timed(*arguments, **words):
        began = time.perf_counter()
        try:
            return ask(*arguments, **words)
        finally:
            asked[0] += time.perf_counter() - began

    Asker.ask = timed
    began = time.perf_counter()
    result = lrsearch.tune(
        "quadratic", trials=trials, tracking_uri=f"sqlite:///{folder}/a.db", compare=False
    )
    whole = time.perf_counter() - began
    Asker.ask = ask
    assert len(result.trials) == trials
    return whole / trials, asked[0] / trials, result


def plain(folder, trials):
    """Run the same search, written as in the documentation of Optuna and MLflow."""
    import mlflow
    import optuna

    from lrsearch.objectives.builtin import make
    from lrsearch.quadratic import expected_loss
    from lrsearch.space import Space

    asked = [0.0]
    objective = make("quadratic")
    space = Space.load("default").with_defaults(objective.setup.entries)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/b.db")
    mlflow.set_experiment("plain")
    sampler = optuna.samplers.GPSampler(seed=0, deterministic_objective=True)
    storage = f"sqlite:///{folder}/study.db"
    study = optuna.create_study(storage=storage, sampler=sampler)

    def run(trial):
        began = time.perf_counter()
        point = {
            name: trial.suggest_float(name, entry.low, entry.high, log=entry.log)
            for name, entry in space.free.items()
        }
        asked[0] += time.perf_counter() - began
        schedule = space.schedule(point)
        plan = schedule.plan(200, 4)
        curve = expected_loss(objective.problem, [plan])[0]
        with mlflow.start_run(run_name=str(trial.number), nested=True):
            mlflow.log_params(schedule.to_dict())
            for t, (lr, loss) in enumerate(zip(plan.lr, curve, strict=False)):
                if math.isfinite(loss):
                    mlflow.log_metric("lr", lr, step=t)
                    mlflow.log_metric("loss", loss, step=t)
            value = min(float(curve[-1]), 0.5)
            mlflow.log_metric("value", value)
        return value

    began = time.perf_counter()
    with mlflow.start_run():
        study.optimize(run, n_trials=trials)
    return (time.perf_counter() - began) / trials, asked[0] / trials


def main():
    import threadpoolctl

    from tests.bench.machine import record

    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        with threadpoolctl.threadpool_limits(1):
            total, sampler, result = ours(folder, trials)
            theirs, _ = plain(folder, PLAIN_TRIALS)
    record(
        "overhead",
        {
            "trials": trials,
            "ms_a_trial": round(1000 * total, 1),
            "ms_a_trial_in_the_sampler": round(1000 * sampler, 1),
            "ms_a_trial_in_engine_storage_tracking": round(1000 * (total - sampler), 1),
            "plain_trials": PLAIN_TRIALS,
            "plain_ms_a_trial": round(1000 * theirs, 1),
            "plain_over_ours": round(theirs / total, 1),
            "ratio_to_optimum": round(result.reference["ratio"], 4),
        },
    )


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    main()
