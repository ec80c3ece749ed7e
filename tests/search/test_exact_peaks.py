"""Peaks of exact objectives, compared with dense searches."""

import math

import numpy as np
import pytest
from scipy import optimize

import lrsearch
from lrsearch import Schedule
from lrsearch.baselines import BASELINES, baseline
from lrsearch.search.exact_peaks import MOST, next_peak


def search(function, start):
    """Return the peaks and values that a search from some peaks runs."""
    known = {peak: function(peak) for peak in start}
    while (peak := next_peak(known)) is not None:
        assert peak not in known
        known[peak] = function(peak)
    return known


def value_of(shape, peaks):
    """Return the expected loss of SGD on the reference quadratic, by its recursion."""
    h = 1 / np.arange(1, 257)
    h /= h.sum()
    q = np.ones((len(peaks), 256))
    for rate in shape.replace(peak=1.0).plan(200).lr:
        eta = (rate * np.asarray(peaks))[:, None]
        kappa = 1 / 4 - 1 / 256
        q = (1 - eta * h) ** 2 * q + eta**2 * kappa * h**2 * q.sum(1, keepdims=True)
    return 0.5 * q.mean(1)


@pytest.mark.parametrize("name", BASELINES)
def test_the_tuned_value_of_a_baseline_is_that_of_a_dense_search(name):
    shape = baseline(name, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        grid = np.geomspace(0.01, 30.0, 400)
        values = np.nan_to_num(value_of(shape, grid), nan=math.inf)
        at = int(values.argmin())
        found = optimize.minimize_scalar(
            lambda u: value_of(shape, [math.exp(u)])[0],
            bounds=np.log([grid[at - 1], grid[at + 1]]),
            method="bounded",
            options={"xatol": 1e-10},
        )
        known = search(
            lambda peak: float(value_of(shape, [peak])[0]), [0.05 * 3.0**i for i in range(5)]
        )
    assert min(known.values()) == pytest.approx(found.fun, rel=2e-6)
    assert len(known) <= 35


def test_a_comparison_of_exact_values_has_tuned_peaks(tmp_path):
    found = lrsearch.tune(
        "quadratic",
        space="linear",
        trials=4,
        compare=True,
        tracking_uri="none",
        storage=tmp_path / "q.journal",
    ).comparison
    for name in BASELINES:
        tuned = found.contenders[name]
        shape = tuned.schedule
        near = shape.peak * np.linspace(0.9, 1.1, 41)
        assert tuned.value == pytest.approx(value_of(shape, [shape.peak])[0], rel=1e-10)
        assert tuned.value <= value_of(shape, near).min() * (1 + 1e-6)
        assert tuned.peaks == tuple(sorted(tuned.peaks))
    assert len(found.contenders["default"].peaks) == 1
    assert found.runs <= 12 * 35


def test_the_peak_of_a_parabola_is_found_at_once():
    known = search(lambda p: 1 + (math.log(p) - 0.3) ** 2, [0.5, 1.0, 2.0])
    assert min(known, key=known.get) == pytest.approx(math.exp(0.3), rel=1e-3)
    assert len(known) <= 9


@pytest.mark.parametrize("start", [[1e-4], [1e4], [0.01, 0.02], [500.0, 1000.0]])
def test_a_peak_outside_the_known_ones_is_walked_to(start):
    known = search(lambda p: math.inf if p > 3 else 2 - p, start)
    assert 2.9 < min(known, key=known.get) <= 3.0
    assert len(known) < MOST


def test_a_search_ends_for_any_function():
    assert len(search(lambda p: 1.0, [0.1, 1.0])) == 2  # flat
    assert len(search(lambda p: math.inf, [0.1, 1.0])) < MOST + 1  # every peak diverges
    assert len(search(lambda p: -p, [0.1])) == MOST  # there is no best peak
    rng = np.random.default_rng(0)
    rough = search(lambda p: math.log(p) ** 2 + rng.normal(), [0.1, 1.0, 10.0])
    assert len(rough) <= MOST


def test_the_peaks_do_not_depend_on_the_order_of_the_known_ones():
    known = {0.1: 3.0, 1.0: 1.0, 10.0: 2.0}
    assert next_peak(known) == next_peak(dict(reversed(known.items())))
    assert isinstance(Schedule(peak=next_peak(known)).peak, float)
