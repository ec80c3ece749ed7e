"""Diagnostics of schedules and curves, compared with published numbers and slow code."""

import math
import statistics

import numpy as np
import pytest

from lrsearch import Schedule
from lrsearch.diagnostics.curve_figures import (
    SPIKE,
    WINDOW,
    count_spikes,
    diagnose_traces,
    energy_trace,
)
from lrsearch.diagnostics.plan_figures import diagnose_plan
from lrsearch.plan import Plan
from lrsearch.seeding import stream
from lrsearch.trace import Trace


def plan_of(rates, batch=1):
    return Plan(np.asarray(rates, float), np.full(len(rates), batch), np.zeros(len(rates)))


def test_total_variation_does_not_distinguish_monotone_schedules_but_the_others_do():
    """All four fall from .1 to .001 and have F = .099. The other diagnostics rank them."""
    x = np.linspace(0, 1, 300)
    curves = {
        "step": np.repeat([0.1, 0.01, 0.001], 100),
        "cosine": 0.001 + 0.099 * 0.5 * (1 + np.cos(np.pi * x)),
        "linear": 0.1 - 0.099 * x,
        "exponential": 0.1 * 0.01**x,
    }
    found = {name: diagnose_plan(plan_of(curve)) for name, curve in curves.items()}
    assert [f["total_variation"] for f in found.values()] == pytest.approx([0.099] * 4)
    assert found["step"]["largest_jump"] == pytest.approx(0.09)
    assert found["linear"]["largest_jump"] == pytest.approx(0.099 / 299)
    squares = [
        found[n]["quadratic_variation"] for n in ("step", "exponential", "cosine", "linear")
    ]
    assert squares == sorted(squares, reverse=True)
    assert found["linear"]["second_variation"] == pytest.approx(0, abs=1e-12)
    assert found["step"]["second_variation"] == pytest.approx(2 * 0.099)


def test_diagnostics_of_a_plan_match_their_definitions():
    rates = [0.5, 0.25, 0.1]
    found = diagnose_plan(plan_of(rates, batch=5), weight_decay=0.2, curvature=6.0)
    assert found["rate_sum"] == pytest.approx(0.85)
    assert found["rate_square_sum"] == pytest.approx(0.25 + 0.0625 + 0.01)
    assert found["decay_product"] == pytest.approx(0.9 * 0.95 * 0.98)
    assert found["noise_scale"] == pytest.approx(0.85 / 15)
    assert found["noise_scale_spread"] == pytest.approx(
        statistics.pstdev(rates) / statistics.mean(rates)
    )
    assert found["updates_above_limit"] == 1  # 2/6 lies between .5 and .25
    assert found["time_above_limit"] == pytest.approx(1 / 3)


def test_diagnostics_with_unknown_inputs_are_not_reported():
    found = diagnose_plan(plan_of([0.1]))
    assert "decay_product" not in found
    assert "time_above_limit" not in found
    assert found["total_variation"] == found["largest_jump"] == found["second_variation"] == 0


def test_a_rate_that_grows_with_the_batch_keeps_the_noise_scale():
    schedule = Schedule(peak=0.1, decay="constant", batch_growth=8, coupling=1)
    found = diagnose_plan(schedule.plan(500, 16))
    assert found["noise_scale_spread"] < 1e-12
    alone = diagnose_plan(Schedule(peak=0.1, decay="constant", batch_growth=8).plan(500, 16))
    assert alone["noise_scale_spread"] > 0.3


def slow_spikes(losses):
    """Return the number of spikes by the definition, one report at a time."""
    spikes, high = 0, False
    for t in range(WINDOW, len(losses)):
        before = losses[t - WINDOW : t]
        median = statistics.median(before)
        mad = statistics.median(abs(x - median) for x in before)
        above = losses[t] > median + SPIKE * max(mad, 1e-3 * abs(median))
        spikes, high = spikes + (above and not high), above
    return spikes


@pytest.mark.parametrize("length", [51, 60, 501, 1300])
def test_spikes_match_a_slow_implementation_of_the_definition(length):
    draw = stream(length, "losses")
    losses = (1 + 0.05 * draw.standard_normal(length)) * np.exp(-np.arange(length) / length)
    planted = draw.choice(
        np.arange(max(length // 2, 50), length), 1 + length // 100, replace=False
    )
    losses[planted] += 3
    assert count_spikes(losses) == slow_spikes(losses.tolist()) >= 1


def test_a_report_is_compared_only_with_earlier_reports():
    """A plateau is one spike, and only the reports before it determine its first report."""
    losses = np.r_[np.linspace(1, 0.9, 60), np.full(5, 4.0), np.linspace(0.9, 0.8, 60)]
    assert count_spikes(losses) == 1
    assert count_spikes(losses[:61]) == 1
    assert count_spikes(losses[:60]) == 0


def test_normal_noise_and_short_curves_have_no_spikes():
    draw = stream(0, "noise")
    runs = [1 + 0.1 * draw.standard_normal(400) for _ in range(100)]
    # Of these 35 000 reports, less than one in a million exceeds the limit by chance.
    assert sum(map(count_spikes, runs)) == 0
    assert count_spikes(np.ones(500)) == 0
    assert count_spikes([1.0, 9.0]) == 0


def test_diagnostics_of_curves_are_largest_values_and_injected_energy():
    traces = {
        "loss": Trace.of(range(6), [4.0, 3.0, 2.0, 2.5, 1.0, 0.5]),
        "update_norm": Trace.of([0, 2, 3], [1.0, 2.0, 0.0]),
        "deviation": Trace.of([0, 2, 3], [1.0, 3.0, 2.0]),
        "gradient_norm": Trace.of([0, 2, 3], [5.0, 1.0, 2.0]),
    }
    found = diagnose_traces(traces)
    assert found["largest_deviation"] == 3.0
    assert found["largest_update"] == 2.0
    assert found["largest_gradient"] == 5.0
    assert found["last_gradient"] == 2.0
    # Energies 3 + ½, 2.5 + 2, 1 + 0.
    assert found["energy_injections"] == 1
    assert math.isclose(found["energy_injected"], 1.0)
    assert energy_trace(traces) == Trace((0, 2, 3), (3.5, 4.5, 1.0))


def test_a_run_without_curves_has_no_diagnostics_of_curves():
    assert diagnose_traces({}) == {}
    assert diagnose_traces({"loss": Trace.of([], [])}) == {}
