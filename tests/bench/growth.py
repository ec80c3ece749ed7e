"""Cost of a trial in a long study: `python -m tests.bench.growth [TRIALS]`.

CPU time per trial of a function that returns at once, with the random sampler and without
tracking, around trial 750 and at the end; and the time to load the study, compared with Optuna's
own replay of the same file, each the fastest of three. BLAS and OpenMP have one thread.
"""

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

TRIALS, WINDOW, REPEATS = 20_000, 500, 3


def search(folder, trials):
    """Return CPU milliseconds per trial at the begin and at the end of a study, and its file."""
    import lrsearch
    from lrsearch.cli.progress import Progress

    marks = {}

    class Watch(Progress):
        def trial_ended(self, trial, result):
            super().trial_ended(trial, result)
            marks[trial.index] = time.process_time()

    @lrsearch.objective(peak=(1e-3, 1.0), steps=5)
    def instant(run):
        return float(run.plan.lr[0])

    path = folder / "growth.journal"
    words = {"sampler": "random", "space": "cosine", "tracking_uri": "none", "storage": path}
    lrsearch.tune(
        instant, study="growth", trials=trials, callback=Watch(quiet=False), **words, compare=False
    )

    def cost(end):
        return 1e3 * (marks[end] - marks[end - WINDOW]) / WINDOW

    return cost(2 * WINDOW - 1), cost(trials - 1), path


def load(path):
    """Return the seconds to load a study, and those of Optuna's own replay of its file."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    import lrsearch

    began = time.perf_counter()
    lrsearch.load("growth", storage=path)
    ours = time.perf_counter() - began
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = JournalStorage(JournalFileBackend(str(path)))
    storage.get_all_trials(0, deepcopy=False)
    return ours, time.perf_counter() - began


def main():
    """Measure and record."""
    from tests.bench.machine import record

    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    with tempfile.TemporaryDirectory() as folder:
        early, late, path = search(Path(folder), trials)
        times = [load(path) for _ in range(REPEATS)]
    ours, theirs = (min(column) for column in zip(*times, strict=True))
    figures = {
        "trials": trials,
        "cpu_ms_per_trial_early": round(early, 2),
        "cpu_ms_per_trial_late": round(late, 2),
        "load_seconds": round(ours, 2),
        "optuna_replay_seconds": round(theirs, 2),
        "load_ratio": round(ours / theirs, 2),
    }
    record("growth", figures)


if __name__ == "__main__":
    os.environ.update(
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    )
    main()
