"""An exported file computes the plan from the step; only a smoothed schedule needs a table."""

import ast
import math

import numpy as np
import pytest
from hypothesis import given, settings

from lrsearch import Schedule
from lrsearch.curves import DECAYS
from lrsearch.errors import RequestError
from lrsearch.export.closed_form import closed_form
from lrsearch.export.module import MODULES, to_module
from tests.families import STEPS, schedules


def functions(schedule, plan):
    source = closed_form(schedule, plan)
    assert source is not None
    names = {"math": math}
    exec(source, names)
    return names


def check(schedule, steps, batch=1):
    """Check that the functions of a schedule are its plan, within one unit in the last place."""
    plan = schedule.plan(steps, batch)
    found = functions(schedule, plan)
    for name, column in {"rate_at": plan.lr, "momentum_at": plan.momentum}.items():
        column = np.asarray(column)
        if name == "momentum_at" and not (column != column[0]).any():
            assert name not in found
            continue
        values = np.array([found[name](t) for t in range(len(plan))])
        assert (np.abs(values - column) <= np.spacing(np.abs(column))).all()
    if "batch_at" in found:
        assert [found["batch_at"](t) for t in range(len(plan))] == list(plan.batch)


@settings(deadline=None, max_examples=400, derandomize=True)
@given(schedules(smoothing=0.0))
def test_the_functions_of_every_schedule_are_its_plan(fields):
    try:
        schedule = Schedule(**fields)
        schedule.plan(STEPS, 32)
    except RequestError:
        return  # opposed momentum below its lowest value
    check(schedule, STEPS, 32)


CHAPTER = {"warmup": 0.05, "floor": 0.1, "momentum": 0.95}
LONG = {
    **{decay: {"decay": decay, "power": 1.7} for decay in DECAYS},
    "cycles": {"cycles": 4, "cycle_growth": 2.0, "cycle_damping": 0.7},
    "hold": {"hold": 0.9, "decay": "root", "power": 0.5},
    "constant": {"hold": 1.0, "decay": "constant", "floor": 0.0},
    "opposed": {"momentum_rule": "opposed"},
    "critical": {"momentum_rule": "critical_nesterov", "curvature": 400.0},
    "heavy ball": {"momentum_rule": "critical_heavy_ball", "curvature": 1500.0},
    "growing batch": {"batch_growth": 4.0, "coupling": 0.5, "momentum_rule": "opposed"},
    "linear growth": {"batch_growth": 3.0, "batch_ramp": "linear", "coupling": 1.0},
}


@pytest.mark.parametrize("case", LONG)
def test_the_functions_of_long_schedules_are_their_plans(case):
    check(Schedule(peak=1e-3, **{**CHAPTER, **LONG[case]}), 50_000, 16)


@pytest.mark.parametrize("form", MODULES)
def test_a_file_does_not_grow_with_the_number_of_steps(form):
    schedule = Schedule(peak=1e-3, warmup=0.02, decay="rex", floor=0.1)
    text = to_module(form, schedule.plan(200_000), schedule)
    assert len(text) < 12_000
    names = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert "rate_at" in names
    assert "LR = StepValues(rate_at, 200000)" in text


@pytest.mark.parametrize(
    ("schedule", "other"),
    [
        (Schedule(peak=0.1, smoothing=0.2), None),  # a mean over a window has no closed form
        (Schedule(peak=0.1), Schedule(peak=0.2)),  # a plan of another schedule
        (Schedule(peak=0.1), Schedule(peak=0.1, momentum=0.9, momentum_rule="opposed")),
    ],
)
def test_a_plan_without_a_closed_form_is_a_table(schedule, other):
    plan = (other or schedule).plan(64)
    assert closed_form(schedule, plan) is None
    text = to_module("torch", plan, schedule)
    assert "StepValues" not in text
    (table,) = (
        n for n in ast.parse(text).body if isinstance(n, ast.AnnAssign) and n.target.id == "LR"
    )
    assert list(ast.literal_eval(table.value)) == plan.lr.tolist()


def test_the_values_act_as_a_tuple():
    schedule = Schedule(peak=0.1, warmup=0.1)
    plan = schedule.plan(50)
    names = {}
    text = to_module("torch", plan, schedule)
    exec(text, names)
    rates = names["LR"]
    assert tuple(rates) == rates[:] == tuple(plan.lr.tolist())
    assert (rates[-1], rates[3:5], len(rates)) == (plan.lr[-1], tuple(plan.lr[3:5]), 50)
    with pytest.raises(IndexError):
        rates[50]
