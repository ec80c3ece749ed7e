"""Tests of the proxies as objectives: values, divergence, options and optimum."""

import numpy as np
import pytest

from lrsearch import Schedule
from lrsearch.errors import RequestError
from lrsearch.objectives.builtin import BUILT_IN, make
from lrsearch.quadratic import Optimizer, expected_loss, lr_ref, noisy_quadratic
from lrsearch.schedule import Budget
from tests.doubles import answer

PROXIES = ["quadratic", "quadratic-additive"]


@pytest.mark.parametrize(
    ("name", "problem"), [("quadratic", lr_ref()), ("quadratic-additive", noisy_quadratic(256))]
)
def test_the_value_is_the_last_loss_of_the_recursion(name, problem):
    objective = make(name)
    setup = objective.setup
    schedules = [Schedule(peak=p * problem.largest_rate) for p in (0.05, 0.2, 0.4)]
    for schedule, outcome in zip(schedules, answer(objective, *schedules), strict=True):
        curve = expected_loss(problem, [schedule.plan(setup.steps, setup.batch)])[0]
        assert outcome.value == curve[-1]
        assert outcome.traces["loss"].values == tuple(curve)
        assert outcome.updates == setup.steps


def test_the_reference_least_squares_problem_has_its_known_values():
    objective = make("quadratic")
    assert objective.setup.untrained == pytest.approx(0.5, rel=1e-12)
    assert (objective.setup.steps, objective.setup.batch) == (200, 4)
    assert objective.optimum(Budget(steps=200, batch=4)) == pytest.approx(0.1458987, abs=5e-8)
    peak = objective.setup.entries["peak"]
    assert peak.high == pytest.approx(2 / 0.163283, rel=1e-5)
    assert peak.low == pytest.approx(0.03 * peak.high)


def test_a_run_above_the_stability_limit_diverges_with_its_update_and_loss():
    (outcome,) = answer(make("quadratic"), Schedule(peak=12.0, decay="constant"))
    assert (outcome.state, outcome.value) == ("diverged", None)
    assert outcome.reason.startswith("diverged at update ")
    assert outcome.updates < 200
    losses = outcome.traces["loss"]
    assert losses.updates == tuple(range(outcome.updates + 1))
    assert losses.values[-1] > 100 * losses.values[0]


def test_without_a_pruner_only_an_overflow_ends_a_run():
    schedule = Schedule(peak=12.0, decay="constant")
    (outcome,) = answer(make("quadratic"), schedule, stops=False)
    assert outcome.state == "finished"
    assert outcome.value > 1.0
    huge = Schedule(peak=1e30, decay="constant")
    (outcome,) = answer(make("quadratic"), huge, stops=False)
    assert (outcome.state, outcome.updates) == ("diverged", 6)  # (1e60)^6 overflows


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("modes", 64),
        ("method", "nesterov"),
        ("form", "classical"),
        ("weight_decay", 0.05),
        ("ema", 0.9),
    ],
)
def test_every_option_changes_the_value(name, option, value):
    schedule = Schedule(peak=0.3, momentum=0.5)
    (plain,) = answer(make(name), schedule)
    (changed,) = answer(make(name, {option: value}), schedule)
    assert plain.value != changed.value
    assert make(name, {option: value}).setup.options[option] == value


def test_options_reach_the_optimizer():
    objective = make("quadratic", {"method": "nesterov", "form": "classical", "ema": 0.5})
    assert objective.optimizer == Optimizer(form="classical", nesterov=True, ema=0.5)


def test_the_optimum_is_none_with_weight_decay_or_an_averaged_iterate():
    assert make("quadratic", {"ema": 0.5}).optimum(Budget(steps=20, batch=4)) is None
    assert make("quadratic", {"weight_decay": 0.5}).optimum(Budget(steps=20, batch=4)) is None
    assert make("quadratic", {"modes": 16}).optimum(Budget(steps=20, batch=4)) > 0


@pytest.mark.parametrize("name", PROXIES)
def test_no_schedule_of_the_family_is_better_than_the_optimum(name):
    objective = make(name, {"modes": 16})
    optimum = objective.optimum(Budget(steps=50, batch=4))
    top = objective.problem.largest_rate
    rates = np.geomspace(0.01, 1.0, 30) * top
    plans = [
        Schedule(peak=rate, decay=decay, floor=0.1).plan(50, 4)
        for rate in rates
        for decay in ("constant", "cosine", "polynomial", "root", "rex")
    ]
    best = min(curve[-1] for curve in expected_loss(objective.problem, plans))
    assert optimum < best < 1.5 * optimum


@pytest.mark.parametrize(
    "name", [name for name in BUILT_IN if "data" not in BUILT_IN[name].options]
)
def test_a_built_in_objective_has_the_name_and_options_of_its_entry(name):
    objective = make(name)
    setup = objective.setup
    assert setup.name == name
    assert setup.unit
    defaults = {k: o.default for k, o in BUILT_IN[name].options.items()}
    assert {**setup.options, **defaults} == dict(setup.options)
    assert "peak" in setup.entries


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digts", {}, "did you mean 'digits'"),
        ("quadratic", {"mode": 3}, "did you mean 'modes'"),
        ("quadratic", {"modes": 1}, "modes is 1; give an integer"),
        ("quadratic", {"modes": "many"}, "not a number"),
        ("quadratic", {"form": "pytorch"}, "did you mean 'torch'"),
        ("digits", {"held_out": 1.0}, "held_out is 1.0"),
    ],
)
def test_an_unknown_name_or_invalid_option_is_rejected(name, options, message):
    with pytest.raises(RequestError, match=message):
        make(name, options)
