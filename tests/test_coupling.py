"""Batch ramps, coupled rates and coupled momentum compared with their definitions."""

import numpy as np
import pytest

from lrsearch import Schedule
from lrsearch.coupling import batch_plan


def smallest_cover(steps, batch, growth, form):
    """Return the smallest T that covers the budget, by trying T = 1, 2, …, and its ramp."""
    for updates in range(1, steps + 1):
        x = np.arange(updates) / updates
        r = 1 + (growth - 1) * x if form == "linear" else growth**x
        sizes = np.floor(batch * r + 0.5).astype(int)
        if sizes.sum() >= steps * batch:
            return updates, sizes
    raise AssertionError("the budget was never covered")


@pytest.mark.parametrize("form", ["linear", "exponential"])
@pytest.mark.parametrize("growth", [1.3, 4.0, 64.0])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (7, 3), (100, 16), (333, 5)])
def test_a_batch_plan_is_the_shortest_that_covers_the_budget(steps, batch, growth, form):
    updates, sizes = smallest_cover(steps, batch, growth, form)
    plan = batch_plan(steps, batch, growth, form)
    assert len(plan) == updates
    assert plan.sum() == steps * batch
    np.testing.assert_array_equal(plan[:-1], sizes[:-1])
    assert 1 <= plan[-1] <= sizes[-1]


def test_a_batch_without_growth_is_constant():
    assert batch_plan(5, 8).tolist() == [8] * 5


def test_a_huge_growth_uses_the_budget_in_two_steps():
    plan = batch_plan(10, 4, 1e300, "exponential")
    assert plan.tolist() == [4, 36]


def test_coupling_one_keeps_the_noise_scale():
    plan = Schedule(peak=0.1, decay="constant", batch_growth=8, coupling=1).plan(200, 16)
    np.testing.assert_allclose(plan.lr / plan.batch, 0.1 / 16, rtol=1e-14)


def test_coupling_a_half_is_the_square_root_law():
    plan = Schedule(peak=0.1, decay="constant", batch_growth=8, coupling=0.5).plan(200, 16)
    np.testing.assert_allclose(plan.lr**2 / plan.batch, 0.01 / 16, rtol=1e-14)


@pytest.mark.parametrize("rule", ["critical_nesterov", "critical_heavy_ball"])
def test_critical_momentum_makes_the_roots_coincide(rule):
    """The discriminant of the characteristic polynomial of the recursion is zero."""
    curvature = 2.0
    plan = Schedule(
        peak=0.4, warmup=0.2, momentum=0.999, momentum_rule=rule, curvature=curvature
    ).plan(50)
    assert (plan.momentum < 0.999).all()  # the critical momentum is never capped
    for eta, mu in zip(plan.lr, plan.momentum, strict=True):
        a = eta * curvature
        # Heavy ball: z² - (1+μ-a)z + μ. Nesterov: z² - (1+μ)(1-a)z + μ(1-a).
        b, c = (1 + mu - a, mu) if rule.endswith("ball") else ((1 + mu) * (1 - a), mu * (1 - a))
        assert abs(b * b - 4 * c) < 1e-14
    assert plan.overdamped == 0


def test_steps_above_critical_damping_have_momentum_0_and_are_counted():
    plan = Schedule(
        peak=3.0, decay="constant", momentum=0.9, momentum_rule="critical_nesterov", curvature=1
    ).plan(10)
    assert plan.momentum.tolist() == [0.0] * 10
    assert plan.overdamped == 10


def test_opposed_momentum_falls_as_the_rate_rises():
    plan = Schedule(
        peak=2.0, warmup=0.5, momentum=0.95, momentum_rule="opposed", momentum_low=0.85
    ).plan(10)
    np.testing.assert_allclose(plan.momentum, 0.95 - 0.1 * plan.lr / 2.0, rtol=0, atol=1e-15)
    assert plan.momentum[4] == pytest.approx(0.85, abs=1e-15)


def test_opposed_momentum_follows_the_uncoupled_rate():
    fields = {"peak": 0.1, "momentum": 0.9, "momentum_rule": "opposed", "batch_growth": 4}
    free = Schedule(**fields).plan(50, 8)
    coupled = Schedule(**fields, coupling=1).plan(50, 8)
    np.testing.assert_array_equal(free.momentum, coupled.momentum)
    assert not np.array_equal(free.lr, coupled.lr)


def test_a_schedule_without_momentum_uses_that_of_the_objective():
    assert Schedule(peak=1.0).with_momentum(0.7).plan(3).momentum.tolist() == [0.7] * 3
    assert (
        Schedule(peak=1.0, momentum=0.0).with_momentum(0.7).plan(3).momentum.tolist() == [0.0] * 3
    )
