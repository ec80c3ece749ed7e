"""Schedule and Plan: round trips, invariants of all schedules, neutral values, error messages."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from lrsearch import Schedule
from lrsearch.curves import DECAYS
from lrsearch.errors import RequestError
from lrsearch.schedule import FIELDS
from tests.families import STEPS, schedules

GOLDEN = Path(__file__).parent / "golden" / "plans.json"


@given(schedules())
def test_a_schedule_survives_repr_and_json(fields):
    schedule = Schedule(**fields)
    assert eval(repr(schedule)) == schedule
    assert Schedule.from_dict(schedule.to_dict()) == schedule
    assert Schedule.from_json(json.dumps(schedule.to_dict())) == schedule
    assert hash(eval(repr(schedule))) == hash(schedule)


@given(schedules())
@settings(max_examples=300)
def test_every_plan_is_finite_bounded_and_uses_exactly_the_budget(fields):
    plan = Schedule(**fields).with_momentum(0.9).plan(STEPS, 12)
    assert np.isfinite(plan.lr).all()
    assert (plan.lr >= 0).all()
    # One product and one power are rounded by an ulp each.
    scale = (plan.batch / 12.0) ** fields["coupling"]
    assert (plan.lr <= fields["peak"] * scale * (1 + 4e-16)).all()
    assert plan.samples == STEPS * 12
    assert (plan.batch >= 1).all()
    assert ((plan.momentum >= 0) & (plan.momentum < 1)).all()
    assert len(plan.lr) == len(plan.batch) == len(plan.momentum) == len(plan)


@given(schedules(smoothing=0.0, coupling=0.0))
def test_the_peak_is_reached_without_smoothing(fields):
    plan = Schedule(**fields).with_momentum(0.9).plan(STEPS, 12)
    assert plan.lr.max() == pytest.approx(fields["peak"], rel=1e-15)


@given(schedules(smoothing=0.0, coupling=0.0, warmup=0.0, cycles=1))
def test_without_warmup_and_restarts_the_rate_never_rises(fields):
    lr = Schedule(**fields).with_momentum(0.9).plan(STEPS, 12).lr
    # PCHIP is monotone up to rounding, a few ulp of the peak.
    assert np.diff(lr).max() <= 1e-14 * fields["peak"]


NEUTRAL = {
    "warmup": 0.0,
    "hold": 0.0,
    "floor": 0.0,
    "cycles": 1,
    "cycle_damping": 1.0,
    "smoothing": 0.0,
    "batch_growth": 1.0,
    "coupling": 0.0,
}


@pytest.mark.parametrize("decay", DECAYS)
def test_neutral_values_change_nothing_bit_for_bit(decay):
    formula, _ = DECAYS[decay]
    bare = Schedule(peak=0.3, decay=decay)
    x = np.arange(STEPS) / STEPS
    np.testing.assert_array_equal(bare.plan(STEPS, 3).lr, 0.3 * formula(x, bare.to_dict()))
    for name, value in NEUTRAL.items():
        assert bare.replace(**{name: value}).plan(STEPS, 3) == bare.plan(STEPS, 3)
    # Fields without effect: growth of one cycle, coupling and ramp of a constant batch.
    for changes in ({"cycle_growth": 3.0}, {"coupling": 0.7}, {"batch_ramp": "linear"}):
        assert bare.replace(**changes).plan(STEPS, 3) == bare.plan(STEPS, 3)


# Another value of each field, and the other fields that it needs to have an effect.
NUDGES = {
    "peak": (0.2, {}),
    "warmup": (0.2, {}),
    "hold": (0.2, {}),
    "decay": ("rex", {}),
    "power": (2.0, {}),
    "rate": (5.0, {"decay": "exponential"}),
    "bend": (0.9, {"decay": "rex"}),
    "drops": (4, {"decay": "step"}),
    "gamma": (0.5, {"decay": "step"}),
    "knot_x1": (0.6, {"decay": "spline"}),
    "knot_y1": (0.5, {"decay": "spline"}),
    "knot_x2": (0.7, {"decay": "spline"}),
    "knot_y2": (0.3, {"decay": "spline"}),
    "floor": (0.1, {}),
    "cycles": (3, {}),
    "cycle_growth": (2.0, {"cycles": 3}),
    "cycle_damping": (0.5, {"cycles": 3}),
    "smoothing": (0.3, {}),
    "batch_growth": (3.0, {}),
    "batch_ramp": ("linear", {"batch_growth": 3.0}),
    "coupling": (1.0, {"batch_growth": 3.0}),
    "momentum": (0.95, {}),
    "momentum_rule": ("opposed", {"momentum": 0.95}),
    "curvature": (9.0, {"momentum": 0.95, "momentum_rule": "critical_nesterov", "curvature": 1.0}),
    "momentum_low": (0.5, {"momentum": 0.95, "momentum_rule": "opposed"}),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_changes_the_plan(name):
    value, around = NUDGES[name]
    before = Schedule(**{"peak": 0.1, **around})
    assert before.replace(**{name: value}).plan(STEPS, 8) != before.plan(STEPS, 8)


def test_stored_plans_are_reproduced():
    """A changed digit would change the schedules that users have exported."""
    for case in json.loads(GOLDEN.read_text()):
        plan = Schedule.from_dict(case["schedule"]).plan(case["steps"], case["batch"])
        # exp and cos of libm may differ by an ulp between machines.
        np.testing.assert_allclose(plan.lr, case["lr"], rtol=1e-14, atol=1e-17)
        np.testing.assert_allclose(plan.momentum, case["momentum"], rtol=1e-14)
        assert plan.batch.tolist() == case["batches"]


def test_iterating_a_plan_yields_pairs_of_python_numbers():
    plan = Schedule(peak=0.5, decay="constant").plan(2, 7)
    assert list(plan) == [(0.5, 7), (0.5, 7)]
    assert [type(v) for v in next(iter(plan))] == [float, int]


def test_a_plan_cannot_be_changed():
    plan = Schedule(peak=0.5).plan(4)
    with pytest.raises(ValueError, match="read-only"):
        plan.lr[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.lr = plan.lr * 2


REJECTED = [
    ({"peak": 0}, r"peak is 0; give a number in \(0, 1e\+30\]"),
    ({"peak": -1.0}, r"peak is -1.0; give a number in \(0, 1e\+30\]"),
    ({"peak": float("nan")}, "peak is nan"),
    ({"peak": float("inf")}, "peak is inf"),
    ({"peak": "0.1"}, "peak is '0.1', which is not a number"),
    ({"peak": True}, "peak is True, which is not a number"),
    ({"peak": None}, "peak is None, which is not a number"),
    ({"peak": 1, "warmup": 1.2}, r"warmup is 1.2; give a number in \[0, 1\)"),
    ({"peak": 1, "warmup": 1.0}, "warmup is 1.0"),
    ({"peak": 1, "gamma": 1.0}, r"gamma is 1.0; give a number in \(0, 1\)"),
    ({"peak": 1, "cycles": 1.5}, "cycles is 1.5; give an integer of at least 1"),
    ({"peak": 1, "decay": "cosin"}, "decay is 'cosin'; did you mean 'cosine'"),
    ({"peak": 1, "decay": 3}, "decay is 3; known: "),
    ({"peak": 1, "warmpu": 0.1}, "no field 'warmpu'; did you mean 'warmup'"),
    ({"warmup": 0.1}, "the schedule has no peak"),
    ({"peak": 1, "momentum_rule": "critical_nesterov"}, "needs curvature"),
]


@pytest.mark.parametrize(("fields", "message"), REJECTED)
def test_the_message_about_a_wrong_field_says_what_is_allowed(fields, message):
    with pytest.raises(RequestError, match=message) as caught:
        Schedule.from_dict(fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "steps", "message"),
    [
        ({"warmup": 0.99}, 10, "leave no decay phase in 10 steps"),
        ({"hold": 1.0}, 10, "leave no decay phase"),
        ({"warmup": 0.99, "decay": "constant"}, 10, "leave no decay phase"),
        ({"cycles": 20}, 10, "20 cycles with growth 1 do not fit"),
        ({"cycles": 4, "cycle_growth": 9.0}, 10, "do not fit a decay phase of 10"),
        ({"cycles": 10**9}, 10, "do not fit"),
        ({"momentum": 0.5, "momentum_rule": "opposed"}, 10, "momentum_low 0.85 is above"),
        ({}, 0, "steps is 0; give an integer"),
        ({}, 2.5, "steps is 2.5"),
    ],
)
def test_a_schedule_that_does_not_fit_the_budget_is_rejected(fields, steps, message):
    with pytest.raises(RequestError, match=message):
        Schedule(peak=1.0, **fields).plan(steps)


def test_a_constant_rate_may_be_held_for_the_whole_run():
    assert Schedule(peak=1.0, decay="constant", hold=1.0).plan(4).lr.tolist() == [1.0] * 4


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", '{"peak": 1, "peak": 2}', '{"peak": NaN}', "[" * 100_000, '"peak"'],
)
def test_json_that_is_not_a_schedule_is_rejected(text):
    with pytest.raises(RequestError):
        Schedule.from_json(text)


def test_another_batch_scales_the_peak_by_the_coupling_law():
    schedule = Schedule(peak=0.1, warmup=0.2, coupling=0.5)
    assert schedule.at_batch(64, 16) == schedule.replace(peak=0.2)
    assert schedule.at_batch(64, 16, coupling=1) == schedule.replace(peak=0.4)
    assert schedule.at_batch(16, 16) == schedule
    for wrong in ((0, 16), (16, -1), (16, 16, 2)):
        with pytest.raises(RequestError):
            schedule.at_batch(*wrong)


def test_elements_of_a_plan_are_python_numbers(tmp_path):
    """A DataLoader and loading with `weights_only` refuse NumPy scalars."""
    import torch

    plan = Schedule(peak=0.1, warmup=0.2, momentum=0.9).plan(10, 8)
    assert {type(plan.lr[3]), type(plan.momentum[-1])} == {float}
    assert type(plan.batch[0]) is int
    assert {type(rate) for rate in plan.lr} == {float}
    assert type(2 * plan.lr) is type(np.diff(plan.lr)) is np.ndarray
    assert plan.lr[2:5].tolist() == plan.lr.tolist()[2:5]
    torch.save({"lr": plan.lr[3], "batch": plan.batch[3]}, tmp_path / "c.pt")
    assert torch.load(tmp_path / "c.pt", weights_only=True)["lr"] == plan.lr[3]
    data = torch.utils.data.TensorDataset(torch.ones(16, 1))
    assert len(torch.utils.data.DataLoader(data, batch_size=plan.batch[0])) == 2
