"""The tuning of a noisy peak: the walk, the quadratic, and what is left to gain."""

import math

import numpy as np
import pytest

from lrsearch.search.noisy_peaks import (
    FEWEST,
    MOST,
    fit_peak,
    next_peaks,
    pooled_noise,
    residual_noise,
)
from lrsearch.seeding import stream
from tests.bench.comparison import regret


def bowl(rise, place, floor=0.0):
    """Return a value that rises by `rise` at a factor of three from the peak `3^place`."""
    return lambda peak: floor + rise * (math.log(peak, 3) - place) ** 2


def tune(value, start=1.0, noise=0.0, goal=0.0, most=MOST, known=()):
    runs = []
    while peaks := next_peaks(runs, known, start, noise, goal, most):
        runs += [(peak, value(peak)) for peak in peaks]
    return runs


@pytest.mark.parametrize("place", [-2.5, -0.6, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e300])
def test_the_peak_of_a_quadratic_without_noise_is_its_vertex(place, scale):
    value = bowl(2.0, place, floor=1.0)
    runs = tune(lambda peak: scale * value(peak))
    found = fit_peak(runs, 0.0)
    assert found.peak == pytest.approx(3.0**place, rel=1e-6)
    lowest = min(value for _, value in runs)
    assert found.value == pytest.approx(lowest, rel=1e-12)
    assert found.value >= scale
    assert found.bend == pytest.approx(2.0 * scale, rel=1e-6)
    assert found.remainder == 0.0
    assert len(runs) <= MOST


def test_the_walk_begins_with_three_peaks_and_continues_by_factors_of_two():
    runs = tune(bowl(1.0, 2.0), most=6)
    assert [peak for peak, _ in runs] == [1.0, 2.0, 0.5, 4.0, 8.0, 16.0]
    down = tune(bowl(1.0, -2.0), most=6)
    assert [peak for peak, _ in down] == [1.0, 2.0, 0.5, 0.25, 0.125, 0.0625]
    assert next_peaks([], (), 0.1, 0.0, 0.0, 2) == [0.1, 0.2]


@pytest.mark.parametrize(
    ("rise", "runs", "most"), [(0.5, 5, 0.21), (2.0, 5, 0.16), (8.0, 5, 0.07), (32.0, 5, 0.07)]
)
def test_a_tuned_peak_loses_little_and_less_than_the_lowest_of_nine(rise, runs, most):
    """The losses are in standard deviations of a value, over 1000 shapes."""
    found = regret(rise, runs, 1000)
    assert found["fit"] <= most
    assert found["fit"] < 0.85 * found["lowest_of_nine"]
    assert regret(rise, 9, 1000)["fit"] < found["fit"]


@pytest.mark.parametrize("rise", [0.5, 2.0, 8.0])
def test_what_is_left_to_gain_is_about_what_is_lost(rise):
    rng, lost, predicted = stream(1, "remainder"), [], []
    for _ in range(600):
        truth = bowl(rise, rng.uniform(-1, 1))
        runs = tune(lambda peak, f=truth: f(peak) + rng.normal(), noise=1.0, most=8)
        found = fit_peak(runs, 1.0)
        lost.append(truth(found.peak))
        predicted.append(found.remainder)
    assert 0.8 * np.mean(lost) <= np.mean(predicted) <= 2.0 * np.mean(lost)


def test_tuning_ends_when_the_peak_is_known_but_never_before_five_runs():
    rng = stream(2, "goal")
    sharp = tune(lambda p: bowl(100.0, 0.2)(p) + rng.normal(), noise=1.0, goal=0.1)
    flat = tune(lambda p: bowl(0.1, 0.2)(p) + rng.normal(), noise=1.0, goal=0.01)
    assert len(sharp) == FEWEST
    assert len(flat) == MOST


def test_the_answer_is_near_the_lowest_and_never_beyond_a_divergence():
    runs = [(0.5, 2.0), (1.0, 1.0), (2.0, math.inf)]
    assert fit_peak(runs, 0.1).peak == 1.0  # two peaks make no quadratic
    runs = [(0.25, 3.0), (0.5, 2.0), (1.0, 1.4), (2.0, math.inf)]
    assert fit_peak(runs, 0.01).peak <= math.sqrt(2.0) + 1e-9
    straight = [(0.25, 3.0), (0.5, 2.0), (1.0, 1.1)]
    assert fit_peak(straight, 0.1).peak <= 2.0 + 1e-9


def test_a_shape_that_always_diverges_is_walked_down_and_then_given_up():
    runs = tune(lambda peak: math.inf, most=6)
    assert [peak for peak, _ in runs] == [1.0, 2.0, 0.5, 0.25, 0.125, 0.0625]
    found = fit_peak(runs, 0.3)
    assert (found.peak, found.value, found.remainder) == (0.0625, math.inf, 0.3)


def test_the_value_next_to_a_cliff_is_not_below_all_measured_ones():
    """Values of a one-cycle schedule on the digits, which rise steeply above a peak of .5."""
    runs = [(0.104, 0.1), (0.219, 0.076), (0.44, 0.069), (0.49, 0.063), (0.6, 0.19), (0.88, 1.3)]
    found = fit_peak(runs, 0.008)
    assert found.value == 0.063
    assert 0.22 < found.peak < 0.45  # well below the cliff


def test_a_flat_shape_has_no_vertex_and_the_noise_is_what_is_left_to_gain():
    runs = tune(lambda peak: 1.0, most=7)
    found = fit_peak(runs, 0.2)
    assert (found.value, found.remainder, found.bend) == (1.0, 0.2, 0.0)
    assert len(runs) == 7


def test_values_of_the_search_count_and_the_walk_still_begins_at_its_start():
    value = bowl(2.0, 0.4)
    known = [(peak, value(peak)) for peak in (0.7, 1.5, 1.9, 2.4)]
    runs = tune(value, known=known, most=4)
    assert [peak for peak, _ in runs[:3]] == [1.0, 2.0, 0.5]
    assert fit_peak([*runs, *known], 0.0).peak == pytest.approx(3.0**0.4, rel=1e-6)


def test_noise_is_pooled_within_groups_and_wider_with_few_degrees_of_freedom():
    groups = [[1.0, 3.0, 2.0], [10.0, 10.0, 13.0], [5.0], [math.inf, 4.0]]
    pooled = math.sqrt((2.0 + 6.0) / 4)
    assert pooled_noise(groups) == pytest.approx(1.5 * pooled)
    many = stream(4, "pooled").normal(2.0, 0.5, size=(40, 3))
    expected = math.sqrt(many.var(axis=1, ddof=1).mean())
    assert pooled_noise(many.tolist()) == pytest.approx(expected)
    assert pooled_noise([[1.0], [2.0]]) is None
    assert pooled_noise([[1e300, 3e300]]) == pytest.approx(1.5 * math.sqrt(2) * 1e300)


def test_residuals_of_quadratics_tell_the_noise():
    rng, found = stream(6, "residuals"), []
    for _ in range(300):
        shapes = [[(3.0**u, 2 * u * u + 0.1 * rng.normal()) for u in (-0.6, 0, 0.6, 0.3, -0.2)]]
        found.append(residual_noise(shapes))
    # Two degrees of freedom: the standard deviation is widened by a half.
    assert math.sqrt(np.mean(np.square(found))) == pytest.approx(1.5 * 0.1, rel=0.1)
    assert residual_noise([[(1.0, 2.0), (2.0, 1.0), (4.0, 3.0)]]) is None


def test_a_peak_at_which_some_runs_diverge_is_not_chosen():
    runs = [(0.25, 1.6), (0.5, 1.2), (1.0, 1.0), (1.0, math.inf), (1.0, math.inf), (2.0, math.inf)]
    assert fit_peak(runs, 0.1).peak < 1.0
    assert next_peaks(runs, (), 1.0, 0.1, 0.0, 12)[0] < 1.0
