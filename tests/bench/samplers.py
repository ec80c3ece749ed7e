"""Quality and cost of asking: `python -m tests.bench.samplers [SEEDS]`.

Searches of the reference least-squares problem, which has no noise and a known optimum. Trial n
sees the outcomes before n - W, as with (W + 1)/2 slots. A quality is the ratio of the lowest loss
to that of the best possible schedule without momentum: median and worst over the seeds. The
alternative is Optuna's Gaussian process, made anew for every trial.
"""

import math
import sys
import time
import warnings

import numpy as np
import optuna
import threadpoolctl

from lrsearch.divergence import divergence
from lrsearch.objectives.loading import find_objective
from lrsearch.outcome import Outcome, Trial
from lrsearch.quadratic import expected_loss
from lrsearch.sampling.optuna_models import OptunaModel
from lrsearch.sampling.registry import make_sampler
from lrsearch.sampling.sampler import History, Problem
from lrsearch.schedule import Budget
from lrsearch.seeding import stream
from lrsearch.space import Space
from tests.bench.machine import record

OBJECTIVE = find_objective("quadratic", None, "cpu")
SETUP = OBJECTIVE.setup
BUDGET = Budget(steps=SETUP.steps, batch=SETUP.batch)
#: Space, W, standard deviation of the noise, and the numbers of trials at which it is measured.
SEARCHES = {
    "spline, 16 slots": ("spline", 31, 0.0, (100, 200, 400)),
    "spline, 1 slot": ("spline", 0, 0.0, (50, 200)),
    "default, 16 slots": ("default", 31, 0.0, (200,)),
    "full, 16 slots": ("full", 31, 0.0, (200,)),
    "spline, 16 slots, 5 % noise": ("spline", 31, 0.05, (100,)),
    "spline, 256 slots": ("spline", 511, 0.0, (4096,)),
    "spline, 1024 slots": ("spline", 2047, 0.0, (4096,)),
}


def optunas(problem):
    """Make Optuna's Gaussian process, as a pure function of the history."""

    def make(seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(
                seed=seed, n_startup_trials=10, deterministic_objective=problem.exact
            )

    return OptunaModel(problem, make)


def problem_of(space, window, noise, seed):
    own = Space.load(space)
    own = own.with_entries({n: e for n, e in SETUP.entries.items() if n not in own.entries})
    return Problem(
        space=own,
        seed=seed,
        positive=True,
        exact=noise == 0,
        untrained=SETUP.untrained,
        window=window,
    )


def ask_all(make, problem, noise, trials):
    """Yield the loss without noise (infinite if diverged) and the seconds of each ask."""
    sampler, points, ended = make(problem), [], {}
    rng = stream(problem.seed, "noise")
    for n in range(trials):
        seen = {i: ended[i] for i in range(max(0, n - problem.window))}
        began = time.perf_counter()
        if n:
            point = sampler.ask(n, History(points=points, ended=seen)).point
        else:
            point = problem.space.default_point()
        seconds = time.perf_counter() - began
        points.append(point)
        schedule = problem.space.schedule(point)
        plan = BUDGET.plan(schedule)
        curve = expected_loss(OBJECTIVE.problem, [plan], OBJECTIVE.optimizer)[0]
        lost = divergence(curve, len(plan), SETUP.untrained) is not None
        value = math.inf if lost or not math.isfinite(curve[-1]) else float(curve[-1])
        told = value * math.exp(noise * rng.normal())
        state = "finished" if math.isfinite(told) else "diverged"
        outcome = Outcome(
            trial=n, replicate=0, state=state, value=told if state == "finished" else None
        )
        ended[n] = Trial(index=n, schedule=schedule, outcomes=(outcome,))
        yield value, told, seconds


def quality(make, space, window, noise, marks, seeds):
    """Return the ratios to the optimum at some numbers of trials, and the time of an ask."""
    optimum = OBJECTIVE.optimum(BUDGET)
    ratios, seconds = {mark: [] for mark in marks}, []
    for seed in range(seeds):
        best = (math.inf, math.inf)  # as told, and without noise
        problem = problem_of(space, window, noise, seed)
        for n, (value, told, took) in enumerate(ask_all(make, problem, noise, max(marks)), 1):
            best = min(best, (told, value))
            seconds.append(took)
            if n in marks:
                ratios[n].append(best[1] / optimum)
    found = {
        f"{mark} trials": {
            "median": round(float(np.median(row)), 4),
            "worst": round(max(row), 4),
        }
        for mark, row in ratios.items()
    }
    return {**found, "ms_per_trial": round(1000 * float(np.mean(seconds)), 2)}


def asking(make):
    """Return the milliseconds of an ask at 200 trials with 31 pending ones."""
    problem = problem_of("spline", 31, 0.0, 0)
    took = [seconds for _, _, seconds in ask_all(make, problem, 0.0, 216)]
    return round(1000 * float(np.mean(took[200:])), 2)


def main(seeds):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with threadpoolctl.threadpool_limits(1):

        def ours(problem):
            return make_sampler("gp", problem)

        own, theirs = asking(ours), asking(optunas)
        record(
            "samplers",
            {
                "ask_at_200_trials_31_pending_ms": {
                    "gp": own,
                    "optuna": theirs,
                    "ratio": round(theirs / own, 1),
                },
                "seeds": seeds,
                "threads": 1,
                "seeds_of_searches_of_4096_trials": min(seeds, 3),
                **{
                    name: quality(ours, *row, min(seeds, 3) if 4096 in row[3] else seeds)
                    for name, row in SEARCHES.items()
                },
                "spline, 1 slot, optuna": quality(optunas, "spline", 0, 0.0, (50, 200), seeds),
            },
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10)
