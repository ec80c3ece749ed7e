"""Exact quadratics compared with published figures, closed forms, torch and Monte Carlo."""

import math

import numpy as np
import pytest
import torch

from lrsearch import Plan, Schedule
from lrsearch.errors import RequestError
from lrsearch.optimum import _log_loss_and_gradient, best_rates
from lrsearch.quadratic import (
    Optimizer,
    Quadratic,
    expected_loss,
    lr_ref,
    noisy_quadratic,
)

OPTIMUM = 0.1458987
BATCH = np.full(200, 4)


def final(problem, plan, optimizer=None):
    return expected_loss(problem, [plan], optimizer or Optimizer())[0][-1]


def test_the_reference_problem_is_the_published_instance():
    problem = lr_ref()
    assert problem.curvature.sum() == pytest.approx(1.0, abs=1e-14)
    assert round(problem.largest_rate / 2, 5) == round(1 / 0.163283, 5)
    assert problem.initial_loss == pytest.approx(0.5, abs=1e-14)


def test_the_best_schedule_of_the_reference_problem_has_the_published_loss_and_rates():
    rates, loss = best_rates(lr_ref(), BATCH)
    assert round(loss, 7) == OPTIMUM
    published = {0: 6.436, 10: 4.749, 50: 4.567, 100: 4.320, 150: 3.686, 190: 1.647, 199: 0.767}
    # The loss is flat at the optimum: rates have about half as many correct digits as the loss.
    for t, rate in published.items():
        assert rates[t] == pytest.approx(rate, abs=2e-3)
    assert final(lr_ref(), Plan(rates, BATCH, np.zeros(200))) == pytest.approx(loss, rel=1e-12)


RATIOS = [
    (Schedule(peak=1, decay="constant"), 1.275),
    (Schedule(peak=1), 1.345),
    (Schedule(peak=1, decay="polynomial"), 1.213),
    (Schedule(peak=1, power=0.2), 1.007),
]


@pytest.mark.parametrize(("schedule", "ratio"), RATIOS)
def test_tuned_baselines_of_the_reference_problem_have_the_published_ratios(schedule, ratio):
    plans = [schedule.replace(peak=float(peak)).plan(200, 4) for peak in np.linspace(3, 7, 401)]
    best = min(curve[-1] for curve in expected_loss(lr_ref(), plans))
    assert round(best / OPTIMUM, 3) == ratio


def test_the_reference_problem_is_unstable_above_the_published_rate():
    """Σ ηκλ/(2-ηλ) < 1 holds below 6.493; the recursion grows just above it."""
    problem, updates = lr_ref(), 20_000
    below, above = (
        expected_loss(problem, [Schedule(peak=p, decay="constant").plan(updates, 4)])[0]
        for p in (6.40, 6.60)
    )
    assert below[-1] < below[0]
    assert above[-1] > above[0]


@pytest.mark.parametrize("eta", [0.05, 0.7])
def test_the_loss_at_a_constant_rate_has_the_closed_form(eta):
    """A_T = a^T A_0 + η²c/B·(1-a^T)/(1-a) with a = (1-ηh)²."""
    problem, batch, updates = noisy_quadratic(50), 8, 300
    h = problem.curvature
    a = (1 - eta * h) ** 2
    second = a**updates + eta**2 * h / batch * (1 - a**updates) / (1 - a)
    got = final(problem, Schedule(peak=eta, decay="constant").plan(updates, batch))
    assert got == pytest.approx(0.5 * float(h @ second), rel=1e-12)


def torch_losses(h, theta, target, plan, *, nesterov, weight_decay):
    """Return the losses of `torch.optim.SGD` on the quadratic without noise, in float64."""
    weight = torch.nn.Parameter(torch.tensor(theta, dtype=torch.float64))
    optimizer = torch.optim.SGD(
        [weight], lr=1.0, momentum=0.5, nesterov=nesterov, weight_decay=weight_decay
    )
    curvature, goal = torch.tensor(h), torch.tensor(target)
    losses = []
    for (lr, _), mu in zip(plan, plan.momentum, strict=True):
        optimizer.param_groups[0].update(lr=lr, momentum=float(mu))
        loss = 0.5 * (curvature * (weight - goal) ** 2).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [*losses, (0.5 * (curvature * (weight - goal) ** 2).sum()).item()]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_without_noise_the_recursion_equals_torchs_sgd(nesterov, weight_decay):
    rng = np.random.default_rng(1)
    h, theta, target = rng.uniform(0.1, 1, 7), rng.normal(size=7), rng.normal(size=7)
    plan = Schedule(
        peak=0.4, warmup=0.2, momentum=0.95, momentum_rule="opposed", momentum_low=0.6
    ).plan(60)
    problem = Quadratic(
        curvature=h,
        variance=np.zeros(7),
        start=(theta - target) ** 2,
        start_mean=theta - target,
        target=target,
    )
    optimizer = Optimizer(nesterov=nesterov, weight_decay=weight_decay)
    expected = torch_losses(h, theta, target, plan, nesterov=nesterov, weight_decay=weight_decay)
    np.testing.assert_allclose(
        expected_loss(problem, [plan], optimizer)[0], expected, rtol=1e-10, atol=1e-14
    )


def simulate(problem, plan, optimizer, members, seed):
    """Simulate the update rules and return the final losses, shape `[members]`."""
    rng = np.random.default_rng(seed)
    h = problem.curvature
    x = rng.normal(size=(members, problem.modes)) * np.sqrt(problem.start)
    v, e = np.zeros_like(x), x.copy()
    for (eta, batch), mu in zip(plan, plan.momentum, strict=True):
        point = x + mu * v if optimizer.nesterov and optimizer.form == "classical" else x
        if problem.noise == "additive":
            spread = np.sqrt(problem.variance / batch)
        else:
            kappa = 1 / batch - 1 / problem.modes
            spread = np.sqrt(kappa * h * (point**2 @ h)[:, None])
        g = (h + optimizer.weight_decay) * point + spread * rng.normal(size=x.shape)
        if optimizer.form == "classical":
            v = mu * v - eta * g
            x = x + v
        else:
            v = mu * v + g
            x = x - eta * (g + mu * v if optimizer.nesterov else v)
        e = optimizer.ema * e + (1 - optimizer.ema) * x
    return 0.5 * (e if optimizer.ema else x) ** 2 @ h


@pytest.mark.parametrize("noise", ["additive", "multiplicative"])
@pytest.mark.parametrize("form", ["torch", "classical"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("ema", "weight_decay"), [(0.0, 0.0), (0.8, 0.02)])
def test_every_optimizer_agrees_with_monte_carlo(noise, form, nesterov, ema, weight_decay):
    h = 1.0 / np.arange(1, 9)
    problem = Quadratic(curvature=h, noise=noise, start=0.3 / h)
    plan = Schedule(peak=0.25, warmup=0.3, momentum=0.8, floor=0.1).plan(40, 2)
    optimizer = Optimizer(form=form, nesterov=nesterov, ema=ema, weight_decay=weight_decay)
    losses = simulate(problem, plan, optimizer, 40_000, seed=3)
    error = losses.std(ddof=1) / math.sqrt(len(losses))
    assert abs(losses.mean() - final(problem, plan, optimizer)) < 4 * error
    assert error < 0.02 * losses.mean()


def test_the_reference_problem_agrees_with_monte_carlo():
    problem = lr_ref(64)
    plan = Schedule(peak=4.0).plan(100, 4)
    losses = simulate(problem, plan, Optimizer(), 5_000, seed=4)
    error = losses.std(ddof=1) / math.sqrt(len(losses))
    assert abs(losses.mean() - final(problem, plan)) < 4 * error
    assert error < 0.02 * losses.mean()


def test_the_two_forms_of_momentum_agree_only_if_the_rate_is_constant():
    def loss(form, decay):
        plan = Schedule(peak=1.0, decay=decay, momentum=0.9).plan(80, 4)
        return final(noisy_quadratic(20), plan, Optimizer(form=form))

    assert loss("torch", "constant") == pytest.approx(loss("classical", "constant"), rel=1e-12)
    assert abs(loss("torch", "cosine") / loss("classical", "cosine") - 1) > 0.01


def test_the_loss_of_a_plan_does_not_depend_on_other_plans_that_diverge():
    problem = noisy_quadratic(30)
    plans = [Schedule(peak=p).plan(100 + n, 4) for n, p in enumerate([0.1, 1e30, 0.1, 0.5])]
    plans += [Schedule(peak=1e30, momentum=0.9).plan(100, 4), Schedule(peak=0.3).plan(100, 4)]
    together = expected_loss(problem, plans)
    for plan, curve in zip(plans, together, strict=True):
        np.testing.assert_array_equal(curve, expected_loss(problem, [plan])[0])
        assert not np.isnan(curve).any()
    assert math.isinf(together[1][-1])
    assert math.isinf(together[4][-1])
    assert np.isfinite(together[0]).all()


@pytest.mark.parametrize("problem", [lr_ref(32), noisy_quadratic(32)])
def test_the_adjoint_gradient_equals_finite_differences(problem):
    rng = np.random.default_rng(0)
    log_rates, batch = np.log(rng.uniform(0.1, 1.0, 20)), np.full(20, 4.0)
    _, gradient = _log_loss_and_gradient(log_rates, problem, batch)
    step = 1e-5
    for t in range(20):
        ends = []
        for sign in (1, -1):
            moved = log_rates.copy()
            moved[t] += sign * step
            ends.append(_log_loss_and_gradient(moved, problem, batch)[0])
        # The error of central differences is about step² + ulp/step.
        assert gradient[t] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-9)


def test_without_a_cap_chebyshev_steps_are_optimal_at_large_batches():
    problem, batch = lr_ref(64), np.full(40, 60)
    capped, loss = best_rates(problem, batch)
    free, lower = best_rates(problem, batch, cap=30 * problem.largest_rate)
    assert capped.max() <= problem.largest_rate * (1 + 1e-12)
    assert free.max() > 1.5 * problem.largest_rate
    assert lower < loss


def updates_to(target, eta, batch, h):
    """Return the steps in which a constant rate reaches the target loss, by bisection."""
    a = (1 - eta * h) ** 2
    limit = eta**2 * h / batch / (1 - a)

    def loss(updates):
        power = a**updates
        return 0.5 * float(h @ (power + limit * (1 - power)))

    if loss(10**8) > target:
        return math.inf
    low, high = 0, 10**8
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= target else (middle, high)
    return high


@pytest.mark.parametrize(("batch", "published"), [(16, 378_198), (256, 25_778), (1024, 10_354)])
def test_the_best_fixed_rate_of_the_noisy_quadratic_needs_the_published_steps(batch, published):
    h = noisy_quadratic().curvature
    cap = 2 / (1 + 2e-4)
    # The published figures come from a grid of rates and are accurate to about 1 %.
    rates = np.append(np.geomspace(1e-3, cap, 150)[:-1], cap)
    best = min(updates_to(0.01, eta, batch, h) for eta in rates)
    assert best == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(curvature=np.array([1.0, -1.0])), "above 0"),
        (lambda: Quadratic(curvature=np.ones(2), noise="white"), "noise is 'white'"),
        (lambda: Quadratic(curvature=np.ones(2), start=np.array([1.0, np.nan])), "finite"),
        (lambda: Optimizer(form="sutskever"), "form is 'sutskever'"),
        (lambda: Optimizer(ema=1.0), "ema is 1.0"),
        (lambda: Optimizer(weight_decay=-1), "weight_decay is -1"),
        (lambda: expected_loss(lr_ref(8), [Schedule(peak=1).plan(5, 9)]), "exceeds the 8"),
    ],
)
def test_an_invalid_problem_is_rejected(make, message):
    with pytest.raises(RequestError, match=message):
        make()
