"""Looks at a comparison: their levels, and how they decide."""

import math

import numpy as np
import pytest
from scipy import stats

from lrsearch.errors import RequestError
from lrsearch.seeding import stream
from lrsearch.sequential import CONSTANTS, Look, Looks, looks_at, paired_test, sequence_of_tests
from tests.bench.boundaries import constants

INF = math.inf


@pytest.mark.parametrize(
    ("seeds", "places", "levels"),
    [
        (3, (3,), (0.04,)),
        (6, (5, 6), (0.0320, 0.0233)),
        (8, (4, 6, 8), (0.0062, 0.0146, 0.0285)),
        (10, (5, 8, 10), (0.0067, 0.0206, 0.0260)),
        (12, (6, 9, 12), (0.0064, 0.0152, 0.0296)),
        (20, (5, 10, 15, 20), (0.0008, 0.0056, 0.0152, 0.0296)),
        (30, (8, 15, 23, 30), (0.0010, 0.0057, 0.0175, 0.0296)),
    ],
)
def test_the_levels_of_the_looks_are_those_of_an_independent_simulation(seeds, places, levels):
    plan = Looks(seeds=seeds).plan()
    assert looks_at(seeds) == places == tuple(look.seeds for look in plan)
    assert [look.level for look in plan] == pytest.approx(levels, rel=0.02, abs=6e-5)


def test_the_table_is_what_its_script_makes():
    asked = (3, 5, 10, 17, 40, 64)
    made = constants(asked, draws=100_000)
    for seeds in asked:
        assert CONSTANTS[seeds - 3] == pytest.approx(made[seeds], rel=0.04)
    assert len(CONSTANTS) == 62


@pytest.mark.parametrize("seeds", [6, 20, 100])
def test_at_most_four_percent_of_verdicts_on_equal_schedules_are_false(seeds):
    rng = stream(seeds, "looks")
    draws = 20_000
    x = rng.normal(size=(draws, seeds))
    wrong = np.zeros(draws, dtype=bool)
    for look in Looks(seeds=seeds).plan():
        wrong |= stats.ttest_1samp(x[:, : look.seeds], 0.0, axis=1).pvalue <= look.level
    assert abs(wrong.mean() - 0.04) < 3 * math.sqrt(0.04 * 0.96 / draws) + 0.001


def test_extensions_double_the_seeds_and_share_what_is_left():
    first, twice = Looks(seeds=6).plan(), Looks(seeds=6, extended=2).plan()
    assert twice[:2] == first
    assert twice[2:] == [Look(seeds=12, level=0.005), Look(seeds=24, level=0.0025)]
    later = Looks(seeds=10, spent=2, extended=1)
    assert later.plan() == [Look(seeds=10, level=0.0025), Look(seeds=20, level=0.00125)]
    assert later.most == 20
    assert later.limited(8).plan()[-1].seeds == 16
    total = 0.04 + sum(look.level for look in Looks(seeds=6, spent=1, extended=40).plan())
    assert total <= 0.05 + 1e-12


@pytest.mark.parametrize("seeds", [3, 6, 10, 20])
def test_a_detectable_difference_is_shown_in_four_of_five_comparisons(seeds):
    looks, rng = Looks(seeds=seeds), stream(seeds, "power")
    x = rng.normal(looks.detectable(), 1.0, size=(20_000, seeds))
    shown = np.zeros(len(x), dtype=bool)
    for look in looks.plan():
        shown |= stats.ttest_1samp(x[:, : look.seeds], 0.0, axis=1).pvalue <= look.level
    assert 0.79 <= shown.mean() <= 0.84


def test_a_clear_difference_ends_at_the_first_look():
    y = np.linspace(0.0, 1.0, 20)
    x = y - 1.0 + 0.01 * np.sin(7 * np.arange(20))
    found = paired_test(x, y, Looks(seeds=20))
    assert (found.verdict, found.seeds, found.level) == ("better", 5, CONSTANTS[17] * 0.25**3)
    assert found.complete
    p = stats.ttest_rel(x[:5], y[:5]).pvalue
    assert found.p == pytest.approx(p)
    low, high = stats.t.interval(1 - found.level, 4, (x - y)[:5].mean(), stats.sem((x - y)[:5]))
    assert found.interval == pytest.approx((low, high))
    assert paired_test(y, x, Looks(seeds=20)).verdict == "worse"


def test_the_interval_of_a_verdict_excludes_zero_and_the_others_include_it():
    rng = stream(3, "intervals")
    for _ in range(200):
        d = rng.normal(rng.uniform(0, 1.5), 1.0, size=20)
        found = paired_test(d, np.zeros(20), Looks(seeds=20))
        inside = found.interval[0] <= 0 <= found.interval[1]
        assert inside == (found.verdict == "not distinguishable")


def test_a_comparison_without_hope_ends_at_half_its_seeds():
    x = np.tile([0.1, -0.1, 0.3, -0.3], 5)
    found = paired_test(x, np.zeros(20), Looks(seeds=20))
    assert (found.verdict, found.seeds, found.complete) == ("not distinguishable", 10, True)
    assert found.p > 0.5
    extended = paired_test(np.tile(x, 2), np.zeros(40), Looks(seeds=20, extended=1))
    assert extended.seeds == 40  # who extends it wants the extension


def test_a_comparison_with_too_few_values_is_not_complete():
    rng = stream(0, "few")
    x = rng.normal(0.4, 1.0, size=20)
    for n in (3, 5, 9):
        found = paired_test(x[:n], np.zeros(n), Looks(seeds=20))
        assert not found.complete
        assert found.verdict == "not distinguishable"
    with pytest.raises(RequestError, match="paired values have shapes"):
        paired_test([], [], Looks(seeds=20))


def test_a_better_peak_of_the_rival_may_explain_a_difference():
    y = np.zeros(10)
    x = y - 1.0 + 0.3 * np.sin(7 * np.arange(10))
    looks = Looks(seeds=10)
    assert paired_test(x, y, looks, remainder=0.1).verdict == "better"
    found = paired_test(x, y, looks, remainder=0.6)
    assert (found.verdict, found.explained, found.seeds) == ("not distinguishable", True, 10)
    assert not paired_test(x, y, looks, remainder=0.1).explained
    assert paired_test(-x, y, looks, remainder=0.6).verdict == "worse"  # needs no guard
    shifted = stats.ttest_1samp(x + 2 * 0.3, 0.0).pvalue
    assert (shifted <= looks.plan()[-1].level) == (
        paired_test(x, y, looks, remainder=0.3).verdict == "better"
    )


def test_a_diverged_seed_counts_as_the_worst():
    x, y = np.linspace(0, 1, 20), np.linspace(0.5, 1.5, 20)
    y[3] = INF
    found = paired_test(x, y, Looks(seeds=20))
    assert (found.test, found.verdict, found.interval) == ("signed ranks", "better", None)
    assert found.diverged == (0, 1)


def test_rivals_are_tested_in_their_order_up_to_the_first_undecided():
    rng = stream(5, "order")
    x = rng.normal(size=20)
    rivals = {"far": x + 2 + 0.1 * rng.normal(size=20), "same": x[::-1], "also": x + 3}
    looks = {"far": Looks(seeds=20), "same": Looks(seeds=20), "also": Looks(seeds=8)}
    found = sequence_of_tests(x, rivals, looks, {})
    assert [found[n].verdict for n in rivals] == ["better", "not distinguishable", "not tested"]
    assert found["far"].seeds == 5
    assert found["also"].difference == pytest.approx(-3.0)
    guarded = sequence_of_tests(x, rivals, looks, {"far": 2.0})
    assert [test.verdict for test in guarded.values()][1:] == ["not tested"] * 2


def test_a_comparison_of_an_earlier_version_has_one_look_at_all_seeds():
    x = np.array([1.0, 1.2, 0.8, 1.1, 0.9, 1.05])
    found = paired_test(x, x + np.array([0.3, 0.1, 0.4, 0.2, 0.2, 0.3]), Looks(seeds=0))
    assert (found.seeds, found.level, found.verdict) == (6, 0.05, "better")


def test_a_level_that_few_seeds_never_reach_detects_nothing_or_much():
    for seeds in (3, 4, 10):
        shown = [Looks(seeds=seeds, spent=spent).detectable() for spent in range(12)]
        assert shown == sorted(shown)
        assert shown[1] > shown[0]
