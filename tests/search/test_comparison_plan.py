"""The protocol of a comparison: its runs, its choices, and how often its answer is wrong."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

import lrsearch
from lrsearch import Schedule
from lrsearch.baselines import BASELINES, baseline
from lrsearch.codec import decode, encode
from lrsearch.comparison import Comparison
from lrsearch.comparison_tables import comparison_remarks
from lrsearch.search.comparison_plan import ComparisonPlan, Shape, rank_key
from lrsearch.search.comparison_protocol import Protocol
from lrsearch.search.comparison_sizes import SIZES
from lrsearch.search.contending_shapes import Twins, pair_plan, peak_grid, plan_comparison
from lrsearch.seeding import SELECT
from lrsearch.sequential import Looks
from tests.bench.comparison import (
    LAWS,
    disguise,
    normal,
    null,
    power,
    run,
    whole_study,
    worth,
)
from tests.doubles import Bowl, search


def shapes(*names, fixed=False, peak=0.2):
    """Return one shape per name, each with a different `warmup`."""
    return tuple(
        Shape(
            name=name,
            schedule=Schedule(peak=peak, warmup=0.01 * (i + 1)),
            fixed=fixed,
            most=0 if fixed else 12,
        )
        for i, name in enumerate(names)
    )


def plan_of(*names, candidates, seeds=10, **words):
    every = shapes(*names)
    defaults = {"selection": 3, "others": seeds, "reported": len(every), "tuned": True}
    return ComparisonPlan(
        candidates=every[:candidates],
        alternatives=every[candidates:],
        seeds=seeds,
        **{**defaults, **words},
    )


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


def test_peaks_candidate_and_best_baseline_are_chosen_on_selection_seeds_only():
    """The choice does not depend on the values of the report."""
    asked = plan_of("trial 1", "trial 2", "a", "b", candidates=2, seeds=6)
    tuned = {0.01: 0.2, 0.02: 0.4, 0.03: 0.1, 0.04: 0.3}
    order = {"select": {0.01: 1.0, 0.02: 2.0, 0.03: 3.0, 0.04: 4.0}}
    order["report"] = {warmup: -value for warmup, value in order["select"].items()}

    def value(stage, schedule, seed):
        off = math.log(schedule.peak / tuned[schedule.warmup], 3) ** 2
        return order[stage][schedule.warmup] + off + 1e-6 * math.sin(7 * seed)

    found = run(asked, value)
    assert found.best.name == "trial 1"
    assert found.best.schedule.warmup == 0.01
    peaks = {each.name: each.schedule.peak for each in (found.best, *found.baselines)}
    assert peaks == {
        "trial 1": pytest.approx(0.2, rel=1e-3),
        "a": pytest.approx(0.1, rel=1e-3),
        "b": pytest.approx(0.3, rel=1e-3),
    }
    assert found.best_baseline == "a"
    assert found.versus["a"].difference == pytest.approx(2.0, abs=1e-4)
    assert (found.versus["a"].verdict, found.versus["a"].seeds) == ("worse", 5)
    assert found.contenders["a"].estimate == pytest.approx(3.0, abs=1e-4)
    assert not found.contenders["a"].at_edge


def test_all_contenders_use_the_same_seeds():
    used = {}

    def value(stage, schedule, seed):
        used.setdefault((stage, schedule.warmup), []).append(seed)
        return math.log(schedule.peak) ** 2 + 0.1 * math.sin(7 * seed + 100 * schedule.warmup)

    found = run(plan_of("trial 1", "a", "b", "c", candidates=1, seeds=10), value)
    for (stage, _), seeds in used.items():
        if stage == SELECT:
            assert sorted(set(seeds)) == list(range(len(set(seeds))))
        else:
            assert seeds == list(range(len(seeds)))
    assert len(found.best.values) == max(len(each.values) for each in found.baselines)


def test_a_protocol_continues_from_the_values_that_it_has():
    asked = plan_of("trial 1", "trial 2", "a", "b", candidates=2, around=True)

    def value(stage, schedule, seed):
        own = math.sin(7 * seed + 1000 * schedule.warmup + 50 * schedule.peak + (stage == SELECT))
        return math.log(schedule.peak / 0.3, 3) ** 2 + 0.2 * own

    whole, calls = run(asked, value), []
    protocol = Protocol(asked)
    for request in protocol.requests():
        calls += [(request.stage, *each) for each in request.runs]
        protocol.values |= {key: value(*key) for key in calls}
    assert protocol.conclude("points") == whole
    assert whole.runs == len(set(calls)) <= asked.runs
    assert [peak / whole.recommended.schedule.peak for peak, _ in whole.around] == pytest.approx(
        [0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
    )


def test_the_plan_says_how_many_runs_there_are_at_most():
    asked = plan_of("trial 1", "trial 2", "a", "b", candidates=2, seeds=10, others=8, around=True)
    assert asked.runs == 2 * 3 + 3 * 12 + 2 * 10 + 8 + 6 * 3
    assert f"at most {asked.runs} runs" in asked.describe()
    assert "2 candidates, 2 alternatives, 10 fresh seeds" in asked.describe()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = run(asked, lambda stage, schedule, seed, rng=rng: float(rng.normal()))
        assert found.runs <= asked.runs
    smaller = [asked.with_seeds(seeds).runs for seeds in (9, 8, 7, 3)]
    assert smaller == sorted(smaller, reverse=True)


def test_an_extension_keeps_the_peaks_and_adds_a_look():
    asked = plan_of("trial 1", "a", candidates=1, seeds=6)

    def value(stage, schedule, seed):
        own = math.sin(7 * seed + 1000 * schedule.warmup + 50 * schedule.peak)
        return math.log(schedule.peak / 0.3, 3) ** 2 + 0.5 * own

    first = run(asked, value)
    assert first.looks == Looks(seeds=6)
    longer = run(dataclasses.replace(asked, seeds=12, others=12), value, first)
    assert longer.looks == Looks(seeds=6, extended=1)
    assert [c.schedule for c in longer.contenders.values()] == [
        c.schedule for c in first.contenders.values()
    ]
    again = run(asked, value, longer)
    assert again == longer
    other = run(dataclasses.replace(asked, selection=4), lambda *key: value(*key) + 1, None)
    assert other.looks.spent == 0
    changed = dataclasses.replace(asked, alternatives=shapes("b", fixed=True, peak=0.7))
    later = run(changed, value, first)
    assert (later.looks.spent, later.versus["b"].level) == (1, 0.005)


def test_diverged_seeds_are_counted_and_never_dropped():
    assert rank_key([1.0, math.inf]) > rank_key([5.0, 5.0])
    assert rank_key([math.inf, math.inf]) == (2, math.inf)
    asked = plan_of("trial 1", "b", candidates=1, seeds=20, tuned=False)

    def value(stage, schedule, seed):
        b = schedule.warmup == 0.02
        if b and stage == "report" and seed < 3:
            return math.inf
        return 1.0 + math.log(schedule.peak / 0.2) ** 2 + 0.01 * math.sin(seed) + 0.5 * b

    found = run(asked, value)
    versus = found.versus["b"]
    assert (found.baselines[0].diverged, versus.test) == (3, "signed ranks")
    assert (versus.verdict, versus.interval) == ("better", None)
    seeds = len(found.baselines[0].values)
    assert any(f"3 of {seeds} seeds diverged" in remark for remark in comparison_remarks(found))
    record = found.to_dict()["contenders"]["b"]
    assert (record["diverged"], record["difference_interval"]) == (3, None)
    assert decode(Comparison, json.loads(json.dumps(encode(found)))) == found


def test_a_peak_whose_runs_diverge_is_not_chosen():
    asked = plan_of("trial 1", "a", candidates=1, seeds=6, tuned=False)

    def value(stage, schedule, seed):
        if schedule.warmup == 0.02 and schedule.peak > 0.15:
            return math.inf
        return 1.0 + math.log(schedule.peak / 0.2) ** 2 + 0.01 * math.sin(seed)

    found = run(asked, value)
    assert found.contenders["a"].schedule.peak < 0.15
    assert found.contenders["a"].diverged == 0


def test_an_exact_objective_is_compared_without_intervals():
    asked = plan_of("trial 1", "a", "b", candidates=1, seeds=1, exact=True, grid=(0.1, 0.2, 0.4))
    worth_of = {0.01: 2.0, 0.02: 2.0, 0.03: 3.0}
    place = {0.01: 0.2, 0.02: 0.13, 0.03: 0.31}

    def value(stage, schedule, seed):
        assert (stage, seed) == (SELECT, 0)
        off = math.log(schedule.peak / place[schedule.warmup]) ** 2
        return worth_of[schedule.warmup] + off

    found = run(asked, value)
    assert (found.best.value, found.best.interval) == (pytest.approx(2.0, abs=1e-6), None)
    assert found.contenders["a"].schedule.peak == pytest.approx(0.13, rel=1e-3)
    assert found.contenders["b"].value == pytest.approx(3.0, abs=1e-6)
    verdicts = {name: test.verdict for name, test in found.versus.items()}
    assert verdicts["b"] in ("better", "not tested")


# --- Which schedules compete, and with how many runs --------------------------------------------


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return search(Bowl(), tmp_path_factory.mktemp("s"), trials=30, sampler="random")


@pytest.mark.parametrize(
    ("runs", "size", "seeds"),
    [(30, 4, 10), (60, 3, 15), (300, 0, 40)],
)
def test_a_budget_is_divided_as_simulations_found_best(result, runs, size, seeds):
    """Half of 60, 120 and 600 runs: two baselines, three, all of them."""
    plan = plan_comparison(result, Twins(result), size=SIZES[size], seeds=seeds)
    assert plan.runs <= runs
    tuned = {shape.name for shape in plan.alternatives if shape.most}
    common = {4: {"linear", "cosine"}, 3: {"linear", "cosine", "wsd"}, 0: {*BASELINES}}
    assert tuned == common[size]
    assert plan.runs > 0.95 * runs
    assert ("default" in {s.name for s in plan.alternatives}) == (size == 0)


def test_trials_of_the_shape_of_a_baseline_count_for_it(result):
    plan = plan_comparison(result, Twins(result), size=SIZES[0], seeds=10)
    by_name = {shape.name: shape for shape in plan.alternatives}
    cosine = result.budget.plan(baseline("cosine", 1.0).with_momentum(0.0)).lr

    def apart(trial):
        lr = result.budget.plan(trial.schedule.replace(peak=1.0)).lr
        return np.sqrt(np.mean((lr - cosine) ** 2))

    alike = [trial for trial in result.trials if apart(trial) <= 0.02]
    assert alike, "no trial has the shape of cosine, so the test shows nothing"
    assert {peak for peak, _ in by_name["cosine"].known} == {t.schedule.peak for t in alike}
    assert not {f"trial {t.index}" for t in alike} & {s.name for s in plan.candidates}


def test_a_pair_is_the_best_trial_and_the_default_schedule(result):
    plan = pair_plan(result, Twins(result), 6)
    assert [shape.name for shape in plan.alternatives] == ["default"]
    assert plan.runs == 12
    assert "the best schedule with the default one, 6 fresh seeds: 12 runs" in plan.describe()
    assert "above 1.7 standard deviations" in plan.describe()


def test_a_pair_is_with_a_tuned_linear_if_the_search_has_run_it(tmp_path):
    runs = [baseline("linear", peak) for peak in (0.01, 0.03, 0.09)]
    words = {"space": "default", "tracking_uri": "none", "storage": tmp_path / "s.journal"}
    found = lrsearch.tune(
        Bowl(), study="s", sampler="random", enqueue=runs, trials=8, compare=False, **words
    )
    plan = pair_plan(found, Twins(found), 6)
    (linear,) = plan.alternatives
    assert (linear.name, linear.fixed, plan.runs) == ("linear", False, 12)
    assert {peak for peak, _ in linear.known} >= {0.01, 0.03, 0.09}
    compared = run(plan, lambda stage, schedule, seed: schedule.peak + 0.1 * math.sin(seed))
    rival = compared.contenders["linear"]
    assert 0.01 < rival.schedule.peak < 0.09
    assert rival.remainder > 0 or compared.best.value == rival.value


# --- Simulations with noise of a known distribution -------------------------------------------


@pytest.mark.parametrize("law", LAWS)
def test_equal_schedules_are_rarely_told_apart(law):
    """One comparison of 10 seeds, 1500 studies; the limits are those of section `null`."""
    found = null(LAWS[law], 10, 1500)
    assert found["any"]["lower_limit"] <= 4.1
    assert found["any"]["percent"] > 1.0
    if law == "normal":
        assert found["coverage"] >= 95.0
        assert found["naive_coverage"] < found["coverage"]


@pytest.mark.slow
@pytest.mark.parametrize("law", [law for law in LAWS if law != "5 % diverged"])
def test_at_most_five_percent_of_whole_studies_report_something_false(law):
    """Six equal baselines, with an extension of every undecided comparison, 600 studies."""
    found = whole_study(LAWS[law], 10, 600)
    assert found["any"]["lower_limit"] <= 5.0
    assert found["better"]["lower_limit"] <= 2.5


@pytest.mark.slow
@pytest.mark.parametrize("rise", [0.5, 2.0, 8.0])
def test_a_peak_chosen_by_chance_is_not_reported_as_a_better_shape(rise):
    """The searched schedule is at its best peak; a baseline of the same value is tuned."""
    found = disguise(rise, 10, 600)
    assert found["better"]["lower_limit"] <= 4.0
    assert found["better"]["percent"] <= found["without_guard"]["percent"]


@pytest.mark.slow
def test_a_difference_of_one_standard_deviation_is_shown_with_twenty_seeds():
    """A t test of 20 seeds at the level .04 has the power .81; the looks cost .02."""
    found = power(1.0, 20, 800)
    assert found["power"] == pytest.approx(0.80, abs=0.045)
    assert found["mean_seeds"] == pytest.approx(16.0, abs=0.6)


@pytest.mark.slow
def test_a_compared_value_is_unbiased_and_its_schedule_is_nearer_to_the_optimum():
    """120 studies of 100 TPE trials on a bowl with known true values; see the benchmark."""
    found = worth(0.03, 120)
    assert abs(found["optimism_of_the_compared_value"]) < 0.1
    assert found["optimism_of_the_best_value"] > 1.6
    assert found["ratio_of_regrets"] <= 0.75


def test_a_distribution_of_the_simulation_has_variance_one():
    rng = np.random.default_rng(0)
    for law in (LAWS["normal"], LAWS["exponential"], normal):
        assert law(rng, 20_000).std() == pytest.approx(1.0, abs=0.05)
    assert stats.kurtosis(LAWS["t3"](rng, 20_000)) > 3
