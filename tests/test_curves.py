"""Unit curves compared with the formulas of their sources and with simple implementations."""

import math

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from lrsearch import Schedule
from lrsearch.curves import cycle_bounds, round_half_up, smooth, spline_knots, times

T = 50


def rates(**fields):
    return Schedule(peak=1.0, **fields).plan(T).lr


FORMULAS = {
    "power_law": (
        {"decay": "power_law", "rate": 7.0, "power": 0.5},
        lambda x: 1 / math.sqrt(1 + 7 * x),
    ),
    "hyperbolic": ({"decay": "power_law", "rate": 2.0}, lambda x: 1 / (1 + 2 * x)),
    "one_minus_sqrt": ({"decay": "root", "power": 0.5}, lambda x: 1 - math.sqrt(x)),
    "one_minus_square": ({"decay": "root", "power": 2.0}, lambda x: 1 - x * x),
    # REX as in its paper: (1 - x) / (1/2 + 1/2 (1 - x)), Chen et al. 2021, eq. 1.
    "rex": ({"decay": "rex"}, lambda x: (1 - x) / (0.5 + 0.5 * (1 - x))),
    "rex_as_linear": ({"decay": "rex", "bend": 1.0}, lambda x: 1 - x),
    "cosine_power": (
        {"decay": "cosine", "power": 0.2},
        lambda x: ((1 + math.cos(math.pi * x)) / 2) ** 0.2,
    ),
    "exponential": ({"decay": "exponential", "rate": 4.0}, lambda x: math.exp(-4 * x)),
    "floor": (
        {"decay": "polynomial", "power": 2.0, "floor": 0.3},
        lambda x: 0.3 + 0.7 * (1 - x) ** 2,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_decay_equals_its_formula(name):
    fields, formula = FORMULAS[name]
    np.testing.assert_allclose(
        rates(**fields), [formula(t / T) for t in range(T)], rtol=0, atol=1e-14
    )


def test_times_start_at_0_and_end_before_1():
    np.testing.assert_array_equal(times(4), [0.0, 0.25, 0.5, 0.75])


def test_a_step_decay_drops_at_equal_distances():
    assert rates(decay="step", drops=4, gamma=0.5)[[9, 10, 19, 20, 49]].tolist() == [
        1,
        0.5,
        0.5,
        0.25,
        0.0625,
    ]


def test_the_spline_is_scipys_pchip_through_the_documented_knots():
    # The knots computed step by step from the four parameters.
    g, a, y1, b, r = 1e-3, 0.3, 0.8, 0.6, 0.4
    x1 = g + a * (1 - 3 * g)
    x2 = x1 + g + b * (1 - 2 * g - x1)
    curve = PchipInterpolator([0, x1, x2, 1], [1, y1, r * y1, 0])
    got = rates(decay="spline", knot_x1=a, knot_y1=y1, knot_x2=b, knot_y2=r)
    np.testing.assert_allclose(got, curve(np.arange(T) / T), rtol=0, atol=1e-14)


@pytest.mark.parametrize("x1", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("x2", [0.0, 0.5, 1.0])
def test_spline_knots_keep_a_minimal_distance(x1, x2):
    x, y = spline_knots({"knot_x1": x1, "knot_x2": x2, "knot_y1": 1.0, "knot_y2": 1.0})
    # The sums round by a few ulp of 1.
    assert np.diff(x).min() >= 1e-3 - 1e-15
    assert np.diff(y).max() <= 0


def moving_average(curve, width):
    """Pad by repetition, then average every window."""
    half = width // 2
    padded = np.concatenate([np.full(half, curve[0]), curve, np.full(half, curve[-1])])
    return np.array([padded[t : t + width].mean() for t in range(len(curve))])


@pytest.mark.parametrize("smoothing", [0.02, 0.1, 0.5, 0.99])
def test_smoothing_is_a_centred_average_with_edge_padding(smoothing):
    curve = rates(decay="step", warmup=0.1)
    width = 1 + 2 * math.floor(smoothing * T / 2 + 0.5)
    # The rounding error of a running sum over T terms of at most 1 is at most T ulp.
    np.testing.assert_allclose(
        smooth(curve, smoothing), moving_average(curve, width), rtol=0, atol=T * 2.3e-16
    )


def test_smoothing_lowers_the_total_variation_and_raises_the_last_rate():
    # Linear from .1 to .001 over 300 steps with both endpoints, width 31: F falls from .0990 to
    # .0964 and the last rate rises from .0010 to .0023.
    linear = np.linspace(0.1, 0.001, 300)
    smoothed = smooth(linear, 30 / 300)
    assert round(float(np.abs(np.diff(smoothed)).sum()), 4) == 0.0964
    assert round(float(smoothed[-1]), 4) == 0.0023


def test_cycle_bounds_with_growth_two_equal_those_of_sgdr():
    assert cycle_bounds(70, 3, 2.0) == [0, 10, 30, 70]
    assert cycle_bounds(100, 3, 1.0) == [0, 33, 67, 100]


def test_halves_are_rounded_up():
    assert [round_half_up(v) for v in (0.5, 1.5, 2.5, 2.4999)] == [1, 2, 3, 2]


def test_the_height_of_cycles_is_damped_above_the_floor():
    lr = rates(decay="polynomial", cycles=2, cycle_damping=0.5, floor=0.2)
    assert lr[0] == 1.0
    assert lr[25] == pytest.approx(0.2 + 0.8 * 0.5, abs=1e-15)
