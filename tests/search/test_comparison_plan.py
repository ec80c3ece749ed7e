"""The plan of a comparison: its runs, its choices, and how often its answer is wrong."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from lrsearch import Schedule
from lrsearch.baselines import BASELINES, baseline
from lrsearch.codec import decode, encode
from lrsearch.comparison import Comparison
from lrsearch.comparison_tables import comparison_remarks
from lrsearch.search.comparison_plan import (
    FIRST_SEEDS,
    KEPT_PEAKS,
    ComparisonPlan,
    TunedShape,
    rank_key,
)
from lrsearch.search.contending_shapes import peak_grid
from lrsearch.seeding import stream
from tests.bench.comparison import worth


def rivals(*names, peaks=(0.1, 0.2, 0.4)):
    """Return one shape per name, each with a different `warmup`."""
    return tuple(
        TunedShape(
            name=name,
            schedules=tuple(Schedule(peak=p, warmup=0.01 * (i + 1)) for p in peaks),
        )
        for i, name in enumerate(names)
    )


def protocol(candidates=5, against=6, seeds=10, points=9):
    names = [f"trial {i}" for i in range(candidates)] + [f"b{i}" for i in range(against)]
    every = rivals(*names, peaks=tuple(2.0 ** -np.arange(points)))
    return ComparisonPlan(
        candidates=every[:candidates], baselines=every[candidates:], selection=seeds, seeds=seeds
    )


def run(asked, value):
    """Return the comparison of values `value(schedule, stage, seed)`, and its runs."""
    calls = []

    def measure(schedules, stage, seeds):
        calls.append(len(schedules) * len(seeds))
        return {s: [value(s, stage, r) for r in seeds] for s in schedules}

    measured = measure(asked.schedules, "select", range(asked.look))
    kept = asked.kept(measured)
    more = measure(kept, "select", range(asked.look, asked.selection))
    measured = {s: [*values, *more.get(s, [])] for s, values in measured.items()}
    reported = measure(list(asked.finalists(measured).values()), "report", range(asked.seeds))
    assert sum(calls) == asked.runs
    return asked.conclude("points", measured, reported)


def test_a_grid_spans_the_range_evenly_and_contains_the_anchor():
    for anchor, points in itertools.product((0.001, 0.02, 0.0473, 1.0), (3, 5, 7, 9)):
        grid = peak_grid(anchor, 0.001, 1.0, points)
        assert anchor in grid
        assert len(grid) == points
        assert min(grid) >= 0.001 * (1 - 1e-9)
        assert max(grid) <= 1.0 * (1 + 1e-9)
        ratios = np.diff(np.log(grid))
        np.testing.assert_allclose(ratios, math.log(1000) / points, rtol=1e-9)
    assert peak_grid(3.0, 0.001, 1.0, 9)[-1] == 3.0  # an anchor outside widens the range
    assert peak_grid(0.1, 0.001, 1.0, 1) == [0.1]
    near = peak_grid(0.02, 0.001, 1.0, nearest=3)  # with the spacing of the whole grid
    np.testing.assert_allclose(near, [0.02 / 1000 ** (1 / 9), 0.02, 0.02 * 1000 ** (1 / 9)])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_baselines_have_the_shapes_of_their_names(momentum):
    made = {name: baseline(name, 0.2, momentum) for name in BASELINES}
    assert list(made) == ["constant", "linear", "cosine", "wsd", "step", "onecycle"]
    for name, schedule in made.items():
        plan = schedule.with_momentum(momentum).plan(1000)
        assert plan.lr.max() == pytest.approx(0.2)
        assert plan.lr[0] < 0.2, f"{name} has no warmup"
    decay = made["wsd"].plan(1000).lr
    assert (decay == 0.2).sum() == 752  # 75 %, with one step of the warmup and one of the decay
    assert decay[900] == pytest.approx(0.2 * (1 - math.sqrt(0.5)))  # 1-sqrt over the last 20 %
    assert sorted({round(lr, 9) for lr in made["step"].plan(1000).lr[50:]}) == [0.002, 0.02, 0.2]
    momenta = made["onecycle"].with_momentum(momentum).plan(1000).momentum
    assert momenta.max() == pytest.approx(momentum, rel=1e-3)
    assert momenta.min() == pytest.approx(momentum * 0.85 / 0.95)


def test_the_number_of_runs_is_exact():
    whole = protocol()
    assert whole.runs == 11 * 9 * FIRST_SEEDS + 11 * KEPT_PEAKS * (10 - FIRST_SEEDS) + 7 * 10
    assert f"{whole.runs} runs" in whole.describe()
    run(whole, lambda s, stage, r: s.peak + r)  # asserts the number of runs
    smaller = [protocol(points=p) for p in (7, 5, 3)]
    smaller += [protocol(points=3, candidates=k) for k in (4, 3, 2, 1)]
    smaller += [protocol(points=3, candidates=1, seeds=s) for s in (9, 8, 7, 6, 5)]
    sizes = [p.runs for p in smaller]
    assert sizes == sorted(sizes, reverse=True)


def test_peaks_candidate_and_best_baseline_are_chosen_on_selection_seeds_only():
    """The choice does not depend on the values of the report."""
    names = ("trial 1", "trial 2", "a", "b")
    every = rivals(*names)
    asked = ComparisonPlan(candidates=every[:2], baselines=every[2:], selection=6, seeds=6)
    tuned = {0.01: 0.2, 0.02: 0.4, 0.03: 0.1, 0.04: 0.2}
    order = {"select": {0.01: 1.0, 0.02: 2.0, 0.03: 3.0, 0.04: 4.0}}
    order["report"] = {warmup: -value for warmup, value in order["select"].items()}

    def value(schedule, stage, seed):
        off = abs(math.log(schedule.peak / tuned[schedule.warmup]))
        return order[stage][schedule.warmup] + 0.1 * off + 0.01 * math.sin(7 * seed)

    found = run(asked, value)
    assert found.best.name == "trial 1"
    assert found.best.schedule == Schedule(peak=0.2, warmup=0.01)
    assert {b.name: b.schedule.peak for b in found.baselines} == {"a": 0.1, "b": 0.2}
    assert found.best_baseline == "a"
    assert found.versus["a"].difference == pytest.approx(2.0)
    assert found.versus["a"].verdict == "worse"
    assert found.contenders["a"].at_edge


def test_diverged_seeds_are_counted_and_never_dropped():
    assert rank_key([1.0, math.inf]) > rank_key([5.0, 5.0])
    assert rank_key([math.inf, math.inf]) == (2, math.inf)
    asked = ComparisonPlan(
        candidates=rivals("trial 1"), baselines=rivals("x", "b")[1:], selection=10, seeds=10
    )

    def value(schedule, stage, seed):
        if schedule.warmup == 0.02 and stage == "report" and seed < 3:
            return math.inf
        return 1.0 + schedule.peak + 0.01 * seed + (0.5 if schedule.warmup == 0.02 else 0.0)

    found = run(asked, value)
    versus = found.versus["b"]
    assert (found.baselines[0].diverged, versus.test) == (3, "signed ranks")
    assert (versus.verdict, versus.interval) == ("better", None)
    assert any("3 of 10 seeds diverged" in remark for remark in comparison_remarks(found))
    record = found.to_dict()["contenders"]["b"]
    assert (record["diverged"], record["difference_interval"]) == (3, None)
    assert decode(Comparison, json.loads(json.dumps(encode(found)))) == found


def test_an_exact_objective_is_compared_without_intervals():
    every = rivals("trial 1", "a", "b")
    asked = ComparisonPlan(
        candidates=every[:1], baselines=every[1:], selection=1, seeds=1, exact=True
    )
    assert asked.runs == 9
    worth = {0.01: 2.0, 0.02: 2.0, 0.03: 3.0}
    measured = {s: [worth[s.warmup] + s.peak] for s in asked.schedules}
    found = asked.conclude("loss", measured, measured)
    assert (found.best.value, found.best.interval) == (2.1, None)
    assert {n: c.verdict for n, c in found.versus.items()} == {
        "a": "not distinguishable",
        "b": "not tested",
    }


# --- Simulations with noise of a known distribution -------------------------------------------


def simulate(studies, noise, *, shift=0.0, seeds=10, trials=100, law=None):
    """Yield the best value and the comparison of random searches.

    `shift[i]` is added to the true value of baseline i; all other schedules are equal.
    """
    peaks = tuple(2.0 ** -np.arange(9))
    baselines = rivals(*(f"b{i}" for i in range(6)), peaks=peaks)
    shifts = np.broadcast_to(shift, 6)
    for study in range(studies):
        rng = stream(study, "simulation")
        draw = law or (lambda rng, size: rng.normal(size=size))
        luck = noise * draw(rng, trials)  # values of the search
        top = np.argsort(luck)[:5]
        candidates = tuple(
            TunedShape(
                name=f"trial {i}",
                schedules=tuple(Schedule(peak=p, warmup=0.5 + i / 1000) for p in peaks),
            )
            for i in top
        )
        asked = ComparisonPlan(
            candidates=candidates, baselines=baselines, selection=seeds, seeds=seeds
        )
        values = {}

        def value(schedule, stage, seed, values=values, rng=rng, draw=draw):
            key = (schedule, stage)
            if key not in values:
                values[key] = noise * draw(rng, seeds)
            truth = 0.0
            if schedule.warmup < 0.1:
                truth = shifts[round(100 * schedule.warmup) - 1]
            return truth + values[key][seed]

        yield luck.min(), run(asked, value)


@pytest.mark.slow
def test_if_all_schedules_are_equal_at_most_five_percent_of_studies_report_a_win():
    """1000 studies of schedules that are all equal up to noise.

    The 95 % Clopper-Pearson interval of the rate of wins is below 5 %. The rate of wins and losses
    together is at most 5 %, within the error of the simulation.
    """
    wins = losses = covered = total = 0
    optimism, lucky = [], []
    for best, found in simulate(1000, 0.03):
        verdicts = {c.verdict for c in found.versus.values()}
        wins += "better" in verdicts
        losses += "worse" in verdicts
        covered += sum(c.interval[0] <= 0 <= c.interval[1] for c in found.versus.values())
        total += len(found.versus)
        optimism.append(-found.best.value / 0.03)
        lucky.append(-best / 0.03)
    interval = stats.binomtest(wins, 1000).proportion_ci(0.95)
    assert interval.high < 0.05, f"{wins} wins"
    assert wins + losses <= 70, f"{wins} wins and {losses} losses"
    assert 0.93 <= covered / total <= 0.97
    assert abs(np.mean(optimism)) < 0.1, "reported values are biased"
    assert np.mean(lucky) > 1.6, "best values are not biased, so the test shows nothing"


@pytest.mark.slow
def test_a_difference_of_1_5_standard_deviations_is_detected_in_four_of_five_studies():
    """The first test of the sequence has the power of a t test at the full level."""
    limit, centre = stats.t.ppf(1 - 0.05 / 2, 9), 1.5 / math.sqrt(2) * math.sqrt(10)
    power = stats.nct.sf(limit, 9, centre)
    assert power == pytest.approx(0.846, abs=1e-3)
    shift = np.full(6, 1.5) * 0.03
    found = [
        c.versus[c.best_baseline].verdict == "better" for _, c in simulate(600, 0.03, shift=shift)
    ]
    assert np.mean(found) >= 0.8
    error = math.sqrt(power * (1 - power) / 600)
    assert np.mean(found) == pytest.approx(power, abs=3 * error)


def test_intervals_cover_the_difference_under_skewed_noise():
    """With exponential noise, the t interval still covers the difference of two means."""
    covered = [
        c.interval[0] <= 0 <= c.interval[1]
        for _, found in simulate(150, 0.03, law=lambda rng, size: rng.exponential(size=size))
        for c in found.versus.values()
    ]
    assert 0.93 <= np.mean(covered) <= 0.99


@pytest.mark.slow
def test_a_compared_value_is_unbiased_and_its_schedule_is_nearer_to_the_optimum():
    """200 studies of 100 TPE trials on a bowl with known true values; see the benchmark."""
    found = worth(0.03, 200)
    assert abs(found["optimism_of_the_compared_value"]) < 0.1
    assert found["optimism_of_the_best_value"] > 1.6
    assert found["ratio_of_regrets"] <= 0.6
