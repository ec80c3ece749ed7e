"""Benefit of the final comparison: `python -m tests.bench.comparison [STUDIES]`.

Each study runs 100 TPE trials on a bowl in three dimensions with known true values, at several
noise levels. The comparison then runs the best ten trials on ten seeds. Measured for the best
single trial and for the compared schedule: how much better than the truth the reported value is,
and how far the schedule is from the optimum.
"""

import math
import sys

import numpy as np
import optuna

from lrsearch import Schedule
from lrsearch.baselines import BASELINES, baseline
from lrsearch.search.comparison_plan import ComparisonPlan, TunedShape
from lrsearch.search.contending_shapes import peak_grid
from lrsearch.seeding import stream, stream_seed
from tests.bench.machine import record

TRIALS, TOP, SEEDS = 100, 10, 10
NOISE = (0.003, 0.01, 0.03)
LOW, HIGH = 1e-3, 1.0


def truth(schedule):
    """Return |x - x*|² on the unit cube of the space, plus .02 for the shape of a baseline."""
    x = ((math.log10(schedule.peak) + 3) / 3, schedule.warmup / 0.3, schedule.floor / 0.2)
    cost = sum((a - b) ** 2 for a, b in zip(x, (0.5, 0.4, 0.6), strict=True))
    return cost + 0.02 * (schedule.decay != "cosine" or schedule.hold > 0)


def search(study, noise):
    """Return the trials of a study, best first, with their noisy values."""
    rng = stream(study, "noise")
    sampler = optuna.samplers.TPESampler(seed=stream_seed(study, "tpe"), multivariate=True)
    found = optuna.create_study(sampler=sampler)
    trials = []
    for _ in range(TRIALS):
        trial = found.ask()
        schedule = Schedule(
            peak=trial.suggest_float("peak", LOW, HIGH, log=True),
            warmup=trial.suggest_float("warmup", 0.0, 0.3),
            floor=trial.suggest_float("floor", 0.0, 0.2),
        )
        value = truth(schedule) + noise * rng.normal()
        found.tell(trial, value)
        trials.append((value, schedule))
    return sorted(trials, key=lambda pair: pair[0])


def compare(study, trials, noise):
    """Compare the best ten trials of a study with the baselines."""
    anchor = trials[0][1].peak
    grid = peak_grid(anchor, LOW, HIGH)

    def rival(name, schedule):
        peaks = list(grid)
        peaks[int(np.argmin(np.abs(np.log(np.array(grid) / schedule.peak))))] = schedule.peak
        return TunedShape(
            name=name, schedules=tuple(schedule.replace(peak=p) for p in sorted(peaks))
        )

    asked = ComparisonPlan(
        candidates=tuple(rival(f"trial {i}", s) for i, (_, s) in enumerate(trials[:TOP])),
        baselines=tuple(rival(name, baseline(name, anchor)) for name in BASELINES),
        selection=SEEDS,
        seeds=SEEDS,
    )
    rng = stream(study, "fresh")

    def measure(schedules, seeds):
        return {s: list(truth(s) + noise * rng.normal(size=seeds)) for s in schedules}

    measured = measure(asked.schedules, asked.look)
    for schedule, more in measure(asked.kept(measured), SEEDS - asked.look).items():
        measured[schedule] += more
    reported = measure(list(asked.finalists(measured).values()), SEEDS)
    return asked.conclude("points", measured, reported)


def worth(noise, studies):
    """Return optimism (in units of the noise) and regret, without and with the comparison."""
    plain, comparison = [], []
    for study in range(studies):
        trials = search(study, noise)
        value, best = trials[0]
        found = compare(study, trials, noise).best
        plain.append((truth(best) - value, truth(best)))
        comparison.append((truth(found.schedule) - found.value, truth(found.schedule)))
    (bias, regret), (optimism, left) = np.mean(plain, axis=0), np.mean(comparison, axis=0)
    return {
        "studies": studies,
        "optimism_of_the_best_value": round(float(bias / noise), 3),
        "optimism_of_the_compared_value": round(float(optimism / noise), 3),
        "regret_of_the_best_trial": round(float(regret), 5),
        "regret_of_the_compared_schedule": round(float(left), 5),
        "ratio_of_regrets": round(float(left / regret), 3),
    }


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    count = int(sys.argv[1]) if sys.argv[1:] else 200
    record("comparison", {f"noise_{noise}": worth(noise, count) for noise in NOISE})
