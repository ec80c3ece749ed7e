"""Errors and costs of comparisons: `python -m tests.bench.comparison [STUDIES]`.

Every part runs the protocol itself on values with known truth; STUDIES is the number of studies
per row. The unit of values is the standard deviation of a value between seeds.

`null`: one comparison of equal schedules, per number of seeds and distribution: share of false
verdicts, and coverage of the intervals. `study`: six equal baselines at fixed peaks, with an
extension of every undecided comparison. `disguise`: the searched schedule is at its best peak, and
six baselines of equal value are tuned, with and without the guard. `regret`: loss of a tuned peak.
`power`: share of comparisons that show a true difference, and their seeds. `search`: what a
comparison is worth after 100 TPE trials on a bowl in three dimensions.
"""

import dataclasses
import itertools
import math
import sys

import numpy as np
import optuna
from scipy import stats

from lrsearch import Schedule
from lrsearch.baselines import BASELINES, baseline
from lrsearch.search.comparison_plan import ComparisonPlan, Shape
from lrsearch.search.comparison_protocol import Protocol
from lrsearch.search.noisy_peaks import MOST, fit_peak, next_peaks
from lrsearch.seeding import stream, stream_seed
from lrsearch.sequential import Looks, paired_test
from lrsearch.stats import mean_interval
from tests.bench.machine import record

TRIALS, TOP, SEEDS = 100, 5, 20
NOISE = (0.003, 0.01, 0.03)
LOW, HIGH = 1e-3, 1.0
ROUNDS = (6, 10, 20, 30)


def run(plan, value, earlier=None):
    """Return the comparison of values `value(stage, schedule, seed)`.

    Args:
        plan: the plan.
        value: function of the values, called once per run.
        earlier: the earlier comparison of the same study, or None.
    """
    protocol = Protocol(plan, earlier)
    for request in protocol.requests():
        for schedule, replicate in request.runs:
            key = (request.stage, schedule, replicate)
            if key not in protocol.values:
                protocol.values[key] = value(*key)
    return protocol.conclude("points")


def normal(rng, size=None):
    """Draw normal values."""
    return rng.normal(size=size)


def heavy(rng, size=None):
    """Draw values with heavy tails: Student's t with 3 degrees of freedom, variance 1."""
    return rng.standard_t(3, size=size) / math.sqrt(3)


def exponential(rng, size=None):
    """Draw skewed values: exponential ones, variance 1."""
    return rng.exponential(size=size)


def diverging(rng, size=None):
    """Draw normal values, of which 5 % have diverged."""
    return np.where(rng.random(size) < 0.05, math.inf, rng.normal(size=size))


LAWS = {"normal": normal, "t3": heavy, "exponential": exponential, "5 % diverged": diverging}


def share(found, studies):
    """Return a share in percent, with the one-sided 95 % lower limit (Clopper and Pearson)."""
    test = stats.binomtest(int(found), studies, alternative="greater")
    return {
        "percent": round(100 * found / studies, 2),
        "lower_limit": round(100 * float(test.proportion_ci(0.95).low), 2),
    }


def null(law, seeds, studies):
    """Return the rates of false verdicts of one comparison, and how its intervals cover 0."""
    wins = losses = covered = naive = counted = 0
    for study in range(studies):
        rng = stream(study, "null", seeds)
        ours, theirs = law(rng, seeds), law(rng, seeds)
        test = paired_test(ours, theirs, Looks(seeds=seeds))
        wins += test.verdict == "better"
        losses += test.verdict == "worse"
        if test.interval is not None:
            n = test.seeds
            low, high = mean_interval(ours[:n] - theirs[:n])
            counted += 1
            covered += test.interval[0] <= 0 <= test.interval[1]
            naive += low <= 0 <= high
    found = {"better": share(wins, studies), "any": share(wins + losses, studies)}
    if counted > studies / 2:
        found["coverage"] = round(100 * covered / counted, 2)
        found["naive_coverage"] = round(100 * naive / counted, 2)
    return found


def shapes(count, *, fixed, most=MOST):
    """Return baselines that differ in their warmup, which is their name in the simulation."""
    return tuple(
        Shape(
            name=f"b{i}",
            schedule=Schedule(peak=1.0, warmup=0.01 * (i + 1)),
            fixed=fixed,
            most=0 if fixed else most,
        )
        for i in range(count)
    )


def study_values(study, law, rises, gap=0.0):
    """Return a function of values with memory.

    Args:
        study: number of the study, the seed of its noise.
        law: distribution of the noise.
        rises: rise of the value at a factor of three from the best peak, per baseline; the best
            peaks are drawn at random.
        gap: value of every baseline at its best peak; the searched schedule's is 0.
    """
    rng = stream(study, "values")
    places = rng.uniform(-0.6, 0.6, size=len(rises))
    known = {}

    def value(stage, schedule, seed):
        key = (stage, schedule, seed)
        if key not in known:
            known[key] = float(law(rng))
        if schedule.warmup >= 0.5:  # the searched schedule
            return known[key]
        i = round(100 * schedule.warmup) - 1
        return known[key] + gap + rises[i] * (math.log(schedule.peak, 3) - places[i]) ** 2

    return value


SEARCHED = Shape(name="trial 0", schedule=Schedule(peak=1.0, warmup=0.5))


def plan_against(alternatives, seeds, reported=None):
    """Return the plan of a comparison of the searched schedule with some alternatives."""
    return ComparisonPlan(
        candidates=(SEARCHED,),
        alternatives=alternatives,
        selection=3,
        seeds=seeds,
        others=min(seeds, 20),
        reported=reported or len(alternatives),
    )


def verdicts(plan, value):
    """Return the first verdict that is not open, of a comparison and its extension."""
    found = run(plan, value)
    test = found.versus[found.best_baseline]
    if test.verdict not in ("better", "worse"):
        longer = dataclasses.replace(plan, seeds=2 * plan.seeds, others=2 * plan.others)
        found = run(longer, value, found)
    return {test.verdict for test in found.versus.values()}


def whole_study(law, seeds, studies):
    """Return the rates of false verdicts in studies of six equal baselines, with an extension."""
    plan = plan_against(shapes(6, fixed=True), seeds)
    found = [verdicts(plan, study_values(i, law, [0.0] * 6)) for i in range(studies)]
    return {
        "better": share(sum("better" in v for v in found), studies),
        "any": share(sum(bool(v & {"better", "worse"}) for v in found), studies),
    }


def disguise(rise, seeds, studies, *, baselines=1, most=MOST):
    """Return the rate of false wins if the baselines are tuned and the search was lucky."""
    plan = plan_against(shapes(baselines, fixed=False, most=most), seeds)
    guarded = unguarded = 0
    for study in range(studies):
        found = run(plan, study_values(study, normal, [rise] * baselines))
        rival = found.best_baseline
        guarded += "better" in {test.verdict for test in found.versus.values()}
        bare = paired_test(found.best.array, found.contenders[rival].array, found.looks)
        unguarded += bare.verdict == "better"
    return {"better": share(guarded, studies), "without_guard": share(unguarded, studies)}


def regret(rise, runs, studies):
    """Return the mean loss of a tuned peak and of the lowest of as many and of nine values."""
    fitted, lowest = [], []
    for study in range(studies):
        rng = stream(study, "regret")
        place = rng.uniform(-1, 1)

        def truth(peak, place=place):
            return rise * (math.log(peak, 3) - place) ** 2

        points = []
        while peaks := next_peaks(points, (), 1.0, 1.0, 0.0, runs):
            points += [(peak, truth(peak) + rng.normal()) for peak in peaks]
        fitted.append(truth(fit_peak(points, 1.0).peak))
        grid = [3.0 ** (-2 + i / 2) for i in range(9)]
        lowest.append(truth(min(grid, key=lambda peak: truth(peak) + rng.normal())))
    return {
        "fit": round(float(np.mean(fitted)), 3),
        "lowest_of_nine": round(float(np.mean(lowest)), 3),
    }


def power(gap, seeds, studies):
    """Return how often a difference from six baselines is shown, and with how many seeds."""
    plan = plan_against(shapes(6, fixed=True), seeds, reported=1)
    found = [run(plan, study_values(i, normal, [0.0] * 6, gap)) for i in range(studies)]
    shown = sum(f.versus[f.best_baseline].verdict == "better" for f in found)
    used = [f.versus[f.best_baseline].seeds for f in found]
    return {"power": round(shown / studies, 3), "mean_seeds": round(float(np.mean(used)), 2)}


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
    """Compare the best trials of a study with the baselines."""
    anchor = trials[0][1].peak
    plan = ComparisonPlan(
        candidates=tuple(
            Shape(name=f"trial {i}", schedule=s, most=MOST)
            for i, (_, s) in enumerate(trials[:TOP])
        ),
        alternatives=tuple(
            Shape(name=name, schedule=baseline(name, anchor), most=MOST) for name in BASELINES
        ),
        selection=3,
        seeds=SEEDS,
        others=SEEDS,
        reported=len(BASELINES),
        tuned=True,
    )
    rng = stream(study, "fresh")
    return run(plan, lambda stage, schedule, seed: truth(schedule) + noise * rng.normal())


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


def table(studies):
    """Return all figures."""
    laws = LAWS.items()
    return {
        "null": {
            f"{name}, {seeds} seeds": null(law, seeds, studies)
            for (name, law), seeds in itertools.product(laws, ROUNDS)
        },
        "study": {
            f"{name}, {seeds} seeds": whole_study(law, seeds, studies)
            for (name, law), seeds in itertools.product(list(laws)[:3], (10, 20))
        },
        "disguise": {
            f"rise {rise}, {seeds} seeds": disguise(rise, seeds, studies)
            for rise, seeds in itertools.product((0.5, 2.0, 8.0, 32.0), (10, 20))
        },
        "disguise, six baselines, five runs each": {
            f"rise {rise}, 10 seeds": disguise(rise, 10, studies, baselines=6, most=5)
            for rise in (0.5, 2.0, 8.0, 32.0)
        },
        "regret": {
            f"rise {rise}, {runs} runs": regret(rise, runs, studies)
            for rise, runs in itertools.product((0.5, 2.0, 8.0, 32.0), (5, 9))
        },
        "power": {
            f"gap {gap}, {seeds} seeds": power(gap, seeds, studies)
            for gap, seeds in itertools.product((1.0, 2.0), (10, 20, 40))
        },
        "search": {f"noise {noise}": worth(noise, max(1, studies // 10)) for noise in NOISE},
    }


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    record("comparison", table(int(sys.argv[1]) if sys.argv[1:] else 2000))
