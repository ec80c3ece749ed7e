"""Tests of the divergence rule, and of the outcome that a Run makes from its reports."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.contract import Setup
from lrsearch.divergence import divergence
from lrsearch.errors import RequestError, RunStopped
from lrsearch.run import Run
from lrsearch.schedule import Schedule


def slow_divergence(losses, updates, untrained=None):
    """Apply the documented rule to one report at a time."""
    window = max(10, math.floor(0.02 * updates + 0.5))
    for i, loss in enumerate(losses):
        if not math.isfinite(loss):
            return i
        seen = losses[: i + 1]
        if min(seen) >= 0 and len(seen) >= window:
            recent = sorted(seen[-window:])
            middle = (recent[(window - 1) // 2] + recent[window // 2]) / 2
            if middle > 2 * max(losses[0], untrained or 0.0):
                return i
    return None


LOSS = st.one_of(st.floats(0, 8), st.sampled_from([math.inf, math.nan, 100.0]))


UNTRAINED = st.sampled_from([None, 0.5, 3.0])


@given(st.lists(LOSS, min_size=1, max_size=60), st.sampled_from([20, 600, 1500]), UNTRAINED)
def test_divergence_follows_the_documented_rule(losses, updates, untrained):
    known = slow_divergence(losses, updates, untrained)
    assert divergence(losses, updates, untrained) == known


@given(st.lists(st.floats(0, 8), min_size=1, max_size=60), UNTRAINED)
def test_single_reports_stop_a_run_where_the_whole_curve_diverges(losses, untrained):
    at = divergence(losses, 100, untrained)
    run = make_run(100, untrained=untrained)
    for t, loss in enumerate(losses):
        if t == at:
            with pytest.raises(RunStopped) as stopped:
                run.report(t, loss)
            assert stopped.value.state == "diverged"
            assert f"at update {t} " in str(stopped.value)
            return
        run.report(t, loss)
    assert at is None


SIGNED = st.one_of(LOSS, st.floats(-1, 1))


@given(st.lists(st.lists(SIGNED, max_size=25), max_size=6), UNTRAINED, st.booleans())
def test_reports_in_blocks_equal_single_reports(blocks, untrained, stops):
    words = {"untrained": untrained, "stops": stops}
    single, many = make_run(60, **words), make_run(60, **words)
    losses = [loss for block in blocks for loss in block]
    with contextlib.suppress(RunStopped, RequestError):
        for t, loss in enumerate(losses):
            single.report(t, loss)
    first = 0
    with contextlib.suppress(RunStopped, RequestError):
        for block in blocks:
            many.report_all(first, block)
            first += len(block)
    assert many.end("pruned", seconds=0) == single.end("pruned", seconds=0)
    assert str(many.stopped) == str(single.stopped)


def test_reports_in_blocks_are_rejected_like_single_reports():
    run = make_run(10)
    run.report_all(2, [1.0, 0.9, 0.8])
    with pytest.raises(RequestError, match="step 4 was reported after step 4; "):
        run.report_all(4, [0.7, 0.6])
    with pytest.raises(RequestError, match="step 10 was reported after step 9; "):
        run.report_all(7, [0.7, 0.6, 0.5, 0.4])
    assert run.end("pruned", seconds=0).traces["loss"].updates == (2, 3, 4, 7, 8, 9)


def make_run(steps, **more):
    plan = Schedule(peak=0.1).plan(steps)
    return Run(trial=3, replicate=1, seed=7, plan=plan, **more)


def test_a_negative_loss_disables_the_median_rule():
    curve = np.concatenate([[-1.0], np.full(50, 9.0)])
    assert divergence(curve, 100) is None
    assert divergence(np.abs(curve), 100) is not None


def test_a_spike_is_not_a_divergence():
    curve = np.ones(100)
    curve[50:54] = 1e6  # four of the ten in a window
    assert divergence(curve, 100) is None


def test_without_stops_a_run_ends_only_on_a_loss_that_is_not_finite():
    run = make_run(100, stops=False)
    for t in range(50):
        run.report(t, 1.0 if t == 0 else 1e9)
    with pytest.raises(RunStopped, match="loss inf"):
        run.report(50, math.inf)


def test_a_finished_run_keeps_its_curve_and_its_figures():
    run = make_run(5)
    for t in range(5):
        run.report(t, 1.0 / (t + 1))
    run.note("accuracy", 0.5)
    run.note("broken", math.nan)
    outcome = run.end("finished", 0.25, seconds=2.0)
    assert (outcome.trial, outcome.replicate) == (3, 1)
    assert (outcome.state, outcome.value, outcome.updates) == ("finished", 0.25, 5)
    assert outcome.traces["loss"].values == (1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5)
    assert dict(outcome.figures) == {"accuracy": 0.5}
    assert outcome.seconds == 2.0


@pytest.mark.parametrize("value", [math.inf, math.nan, None])
def test_a_value_that_is_not_finite_is_a_divergence(value):
    outcome = make_run(5).end("finished", value)
    assert (outcome.state, outcome.value) == ("diverged", None)
    assert "value at the end" in outcome.reason


def test_the_momentum_of_an_objective_is_its_fixed_value_or_zero():
    assert Setup(name="x", unit="y", steps=1, entries={"momentum": 0.9}).momentum == 0.9
    assert Setup(name="x", unit="y", steps=1).momentum == 0.0
