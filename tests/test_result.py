"""Outcomes, trials and results: values, states and JSON."""

import json
import math

import pytest

from lrsearch.codec import decode, encode
from lrsearch.errors import NothingFinished, RequestError
from lrsearch.outcome import STATES, Outcome, Trial
from lrsearch.result import Result
from lrsearch.run import Run
from lrsearch.schedule import Budget, Schedule
from lrsearch.trace import Trace


def outcome(state="finished", value=None, **more):
    value = 1.0 if state == "finished" and value is None else value
    return Outcome(**{"trial": 0, "replicate": 0, "state": state, "value": value, **more})


def trial(index, *outcomes):
    return Trial(index=index, schedule=Schedule(peak=0.1 + index), outcomes=outcomes)


def result(*trials, **more):
    fields = {
        "study": "s",
        "objective": "o",
        "space": "default",
        "unit": "nats",
        "budget": Budget(steps=10, batch=2),
        "seconds": 1.23456,
        "storage": "s.journal",
        "tracking_uri": None,
        "run_id": None,
        "trials": trials,
    }
    return Result(**{**fields, **more})


def test_a_trace_keeps_only_finite_points():
    trace = Trace.of([0, 1, 2], [1.0, math.nan, math.inf])
    assert trace == Trace((0,), (1.0,))


@pytest.mark.parametrize("points", [2, 3, 64, 100])
def test_a_thinned_trace_keeps_both_ends_and_is_evenly_spaced(points):
    trace = Trace(tuple(range(1000)), tuple(float(i) for i in range(1000)))
    thin = trace.thin(points)
    assert len(thin.updates) == points
    assert (thin.updates[0], thin.updates[-1]) == (0, 999)
    gaps = {b - a for a, b in zip(thin.updates, thin.updates[1:], strict=False)}
    assert max(gaps) - min(gaps) <= 1
    assert thin.values == tuple(float(u) for u in thin.updates)


def test_a_short_trace_is_not_thinned():
    trace = Trace((0, 5), (1.0, 2.0))
    assert trace.thin(64) is trace


@pytest.mark.parametrize("state", ["diverged", "pruned", "failed"])
def test_only_a_finished_outcome_has_a_value(state):
    with pytest.raises(ValueError, match="outcome with value"):
        Outcome(trial=0, replicate=0, state=state, value=1.0)
    with pytest.raises(ValueError, match="outcome with value"):
        Outcome(trial=0, replicate=0, state="finished")


@pytest.mark.parametrize("value", [math.inf, math.nan, -math.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        outcome(value=value)


def test_an_outcome_round_trips_through_json():
    made = outcome(
        updates=3,
        reason="",
        traces={"loss": Trace((0, 2), (1.5, 0.1))},
        figures={"accuracy": 0.9},
        seconds=0.25,
    )
    assert decode(Outcome, json.loads(json.dumps(encode(made)))) == made


def test_a_stored_curve_has_at_most_64_points():
    long = Trace(tuple(range(5000)), (1.0,) * 5000)
    assert len(outcome(traces={"loss": long}).thin().traces["loss"].updates) == 64


def test_an_outcome_cannot_be_changed():
    made = outcome(figures={"a": 1.0})
    with pytest.raises(TypeError):
        made.figures["a"] = 2.0


def test_the_value_of_a_trial_is_the_mean_of_its_runs():
    two = trial(0, outcome(value=1.0, seconds=2.0), outcome(value=2.0, seconds=3.0))
    assert (two.state, two.value, two.seconds) == ("finished", 1.5, 5.0)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("finished", "diverged"), "diverged"),
        (("pruned", "diverged"), "diverged"),
        (("finished", "pruned"), "pruned"),
        (("diverged", "failed"), "failed"),
    ],
)
def test_a_run_that_does_not_finish_decides_the_state_of_its_trial(states, expected):
    mixed = trial(0, *(outcome(state, reason=f"why {state}") for state in states))
    assert (mixed.state, mixed.value) == (expected, None)
    first = next(s for s in states if s != "finished")
    assert mixed.reason == f"why {first}"


def test_diagnostics_are_averaged_over_the_runs_that_have_them():
    made = trial(0, outcome(figures={"a": 1.0, "b": 4.0}), outcome(figures={"a": 2.0}))
    assert made.diagnostics == {"a": 1.5, "b": 4.0}


def test_the_best_trial_is_the_lowest_and_the_earliest_of_equals():
    found = result(
        trial(0, outcome(value=2.0)),
        trial(1, outcome("diverged")),
        trial(2, outcome(value=1.0)),
        trial(3, outcome(value=1.0)),
    )
    assert [t.index for t in found.ranked] == [2, 3, 0]
    assert found.best.index == 2
    assert found.counts == {"finished": 3, "diverged": 1, "pruned": 0, "failed": 0}
    assert tuple(found.counts) == STATES
    assert found.trial(1).state == "diverged"
    with pytest.raises(RequestError, match="has no trial 9"):
        found.trial(9)


def test_the_best_trial_of_a_study_without_a_finished_trial_is_an_error():
    with pytest.raises(NothingFinished, match="1 diverged") as caught:
        _ = result(trial(0, outcome("diverged"))).best
    assert caught.value.exit_code == 3


def test_the_reference_is_the_ratio_to_the_optimum():
    known = result(trial(0, outcome(value=3.0)), optimum=2.0)
    assert known.reference == {"optimum": 2.0, "ratio": 1.5}
    assert result(trial(0, outcome())).reference is None


def test_the_json_object_has_exactly_the_documented_keys():
    record = result(trial(0, outcome(figures={"accuracy": 0.5})), optimum=0.5).to_dict()
    assert list(record) == [
        *("study", "objective", "space", "unit", "steps", "seconds", "storage", "tracking_uri"),
        *("run_id", "runs", "trials", "recommended", "best", "reference", "comparison"),
    ]
    assert record["runs"] == {"search": 1, "comparison": 0}
    assert list(record["recommended"]) == [
        *("name", "schedule", "value", "interval", "evidence", "sentence")
    ]
    assert record["recommended"]["evidence"] == "not compared"
    assert list(record["best"]) == ["trial", "value", "schedule", "diagnostics"]
    assert record["best"]["diagnostics"] == {"accuracy": 0.5}
    assert Schedule.from_dict(record["best"]["schedule"]) == Schedule(peak=0.1)
    assert json.loads(json.dumps(record)) == record


def test_a_number_of_400_digits_is_not_finite():
    huge = 10**400
    with pytest.raises(ValueError, match=r"value 10{10,20}\.\.\.0+ is not finite"):
        Outcome(trial=0, replicate=0, state="finished", value=huge)
    ended = {"trial": 0, "replicate": 0, "state": "failed"}
    assert Outcome(**ended, figures={"x": huge, "y": 2}).figures == {"y": 2.0}
    assert Trace.of([0, 1, 2], [1.0, huge, 3.0]).values == (1.0, 3.0)
    run = Run(trial=0, replicate=0, seed=0, plan=Schedule(peak=0.1).plan(steps=3))
    assert run.end("finished", huge).state == "diverged"
