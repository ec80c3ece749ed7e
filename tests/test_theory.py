"""Closed forms compared with integration, simulation, iteration and published figures."""

import math

import numpy as np
import pytest
from scipy import integrate

from lrsearch import Schedule, theory
from lrsearch.coupling import critical_momentum
from lrsearch.errors import RequestError
from lrsearch.quadratic import lr_ref


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("rate", "fall"), [(0.1, 0.05), (0.1, 0.0), (0.025, 0.05), (0.3, 1.0)])
def test_the_diffusion_formulas_solve_the_moment_equation(scaled, rate, fall):
    """dV/dt = -2aη V + s², with s² = σ²η or σ²η²; (.025, .05) is the resonance 2aη0 = β."""
    a, sigma, start = 1.0, 1.3, 0.7

    def slope(t, v):
        eta = rate / (1 + fall * t)
        return -2 * a * eta * v + sigma**2 * (eta**2 if scaled else eta)

    solved = integrate.solve_ivp(slope, (0, 50), [start], rtol=1e-11, atol=1e-13).y[0, -1]
    form = theory.diffusion_variance(
        50, start=start, pull=a, noise=sigma, rate=rate, fall=fall, scaled=scaled
    )
    assert form == pytest.approx(solved, rel=1e-8)


@pytest.mark.parametrize(
    ("scaled", "fall", "expected"),
    [(False, 0, 0.5), (False, 0.05, 0.5), (True, 0, 0.05), (True, 0.05, 0.001307)],
)
def test_decay_lowers_the_limit_only_if_the_noise_is_proportional_to_the_rate(
    scaled, fall, expected
):
    form = theory.diffusion_variance(
        1000, start=1, pull=1, noise=1, rate=0.1, fall=fall, scaled=scaled
    )
    assert form == pytest.approx(expected, abs=5e-7)


def test_one_step_adds_energy_only_above_the_energy_limit():
    for curvature in (0.1, 1.0, 7.0):
        for rate in np.linspace(0.01, 3, 50):
            theta, velocity = 1 - rate * curvature, -rate * curvature
            change = 0.5 * curvature * (theta**2 - 1) + 0.5 * velocity**2
            assert theory.energy_change(rate, curvature) == pytest.approx(change, abs=1e-12)
            assert (change > 0) == (rate > theory.energy_limit(curvature))


def diverges(method, step, mu):
    """Return True if θ grows in 4000 steps at ηλ = step."""
    theta, before = 1.0, 1.0
    for _ in range(4000):
        ahead = theta + mu * (theta - before)
        gradient = ahead if method == "nesterov" else theta
        theta, before = ahead - step * gradient, theta
        if abs(theta) > 1e6:
            return True
    return False


@pytest.mark.parametrize("method", ["gd", "heavy_ball", "nesterov"])
@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9])
def test_a_method_diverges_just_above_its_stability_limit_and_not_below(method, mu):
    mu = 0.0 if method == "gd" else mu
    limit = theory.stability_limit(method, mu)
    assert diverges(method, 1.01 * limit, mu)
    assert not diverges(method, 0.99 * limit, mu)


def test_the_stability_limit_of_adam_is_38_at_momentum_0_9():
    assert theory.stability_limit("adam", 0.9) == pytest.approx(38.0)
    with pytest.raises(RequestError, match="gd has no momentum"):
        theory.stability_limit("gd", 0.9)
    with pytest.raises(RequestError, match="method is 'sgd'"):
        theory.stability_limit("sgd")


def test_the_mean_square_limit_of_the_reference_problem():
    problem = lr_ref()
    limit = theory.mean_square_limit(problem.curvature, 4)
    assert limit == pytest.approx(6.493, abs=5e-4)
    assert limit / problem.largest_rate == pytest.approx(0.53, abs=5e-3)
    with pytest.raises(RequestError, match="batch"):
        theory.mean_square_limit(problem.curvature, 256)


@pytest.mark.parametrize("method", ["heavy_ball", "nesterov"])
def test_the_critical_rate_is_the_inverse_of_the_critical_momentum(method):
    rates = np.array([theory.critical_rate(method, mu, 3.0) for mu in (0.1, 0.5, 0.9)])
    momenta, _ = critical_momentum(rates, 3.0, 0.99, nesterov=method == "nesterov")
    np.testing.assert_allclose(momenta, (0.1, 0.5, 0.9), rtol=1e-12)


def test_the_hamiltonian_momentum_is_one_minus_friction_times_the_root_of_the_rate():
    assert theory.hamiltonian_momentum(0.04, 0.5) == pytest.approx(0.9)
    with pytest.raises(RequestError, match="momentum"):
        theory.hamiltonian_momentum(4.0, 1.0)


def test_the_exact_pac_bayes_rate_gives_the_variance_of_the_prior():
    for curvature, prior, noise in ((1.0, 0.1, 1.0), (5.0, 2.0, 0.3), (0.1, 3.0, 1.0)):
        rate = theory.pac_bayes_rate(curvature, prior, noise)
        assert rate < 2 / curvature
        variance = theory.stationary_variance(rate, curvature, noise)
        assert variance == pytest.approx(prior**2, rel=1e-9)
    written = theory.pac_bayes_rate(1.0, 1e-3, 1.0, exact=False)
    assert written == pytest.approx(theory.pac_bayes_rate(1.0, 1e-3, 1.0), rel=2e-6)


def test_the_stationary_variance_is_the_fixed_point_of_sgd():
    eta, lam, sigma = 0.3, 2.0, 0.7
    variance = theory.stationary_variance(eta, lam, sigma)
    assert (1 - eta * lam) ** 2 * variance + eta**2 * sigma**2 == pytest.approx(variance)
    with pytest.raises(RequestError, match="rate"):
        theory.stationary_variance(1.0, 2.0, 1.0)


def test_weight_decay_product_noise_scale_and_linear_scaling_match_their_definitions():
    rates = [0.1, 0.2, 0.3]
    assert theory.weight_decay_product(rates, 0.5) == pytest.approx(0.95 * 0.9 * 0.85)
    assert theory.noise_scale(rates, [1, 2, 3]).tolist() == pytest.approx([0.1] * 3)
    rate = theory.linear_scaling(0.1, 32, 256)
    assert theory.noise_scale(rate, 256) == theory.noise_scale(0.1, 32)


def slow_bound(rates, distance, gradient):
    """Return the bound by the formula of the paper, sum by sum."""
    n = len(rates)
    total = sum(rates)
    value = distance**2 / (2 * total) + gradient**2 * sum(r * r for r in rates) / (2 * total)
    for k in range(n - 1):
        later = sum(rates[k + 1 :])
        inner = sum(r * r * gradient**2 for r in rates[k:]) / sum(rates[k:])
        value += 0.5 * rates[k] / later * inner
    return value


def test_the_convex_bound_is_the_formula_of_the_paper():
    rates = np.random.default_rng(0).uniform(0.1, 1, 30)
    expected = slow_bound(list(rates), 2.0, 3.0)
    assert theory.convex_bound(rates, distance=2, gradient=3) == pytest.approx(expected, rel=1e-12)
    padded = np.concatenate([rates, np.zeros(5)])
    assert theory.convex_bound(padded, distance=2, gradient=3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(peak=1, decay="polynomial"), 0.100630),
        (Schedule(peak=1, decay="cosine"), 0.103386),
        (Schedule(peak=1, decay="constant"), 0.137545),
    ],
)
def test_the_best_bounds_of_well_known_shapes(schedule, expected):
    shape = schedule.plan(400).lr
    factor, bound = theory.convex_bound_best(shape)
    assert bound == pytest.approx(expected, abs=5e-7)
    assert theory.convex_bound(factor * shape) == pytest.approx(bound, rel=1e-12)
    for other in (0.9, 1.1):
        assert theory.convex_bound(other * factor * shape) > bound


def test_the_convex_bound_rejects_a_rate_of_zero_within_the_run():
    for rates in ([1.0, 0.0, 1.0], [0.0], [], [math.inf]):
        with pytest.raises(RequestError, match="rates above 0"):
            theory.convex_bound(rates)


def test_the_hyperbolic_schedule_gives_the_variance_of_the_diffusion_formula():
    rate, fall, steps = 0.1, 0.05, 400
    plan = theory.hyperbolic_schedule(rate, fall, steps).plan(steps, 1)
    t = np.arange(steps)
    np.testing.assert_allclose(plan.lr, rate / (1 + fall * t), rtol=1e-12)
    variance = 1.0
    for eta in plan.lr:
        variance = (1 - eta) ** 2 * variance + eta**2
    form = theory.diffusion_variance(
        steps, start=1, pull=1, noise=1, rate=rate, fall=fall, scaled=True
    )
    assert variance == pytest.approx(form, rel=0.1)  # the formula is for infinitesimal steps


@pytest.mark.parametrize("exponent", [0.5, 0.6, 1.0, 2.0])
def test_the_power_schedule_is_one_plus_t_to_minus_alpha(exponent):
    plan = theory.power_schedule(0.3, exponent, 1000).plan(1000, 1)
    t = np.arange(1000)
    np.testing.assert_allclose(plan.lr, 0.3 * (1.0 + t) ** -exponent, rtol=1e-12)


@pytest.mark.parametrize("ramp", ["linear", "exponential"])
def test_the_constant_noise_schedule_keeps_rate_over_batch(ramp):
    plan = theory.constant_noise_schedule(0.01, 8, ramp=ramp).plan(1000, 32)
    scale = theory.noise_scale(plan.lr, plan.batch)
    np.testing.assert_allclose(scale, 0.01 / 32, rtol=1e-12)
    assert plan.batch[-2] > 7 * 32


def descend(plan, method, form, curvature):
    """Return θ on one mode after every step, starting at 1 with velocity 0."""
    theta, v, path = 1.0, 0.0, []
    nesterov = method == "nesterov"
    for eta, mu in zip(plan.lr, plan.momentum, strict=True):
        if form == "torch":
            g = curvature * theta
            v = mu * v + g
            theta -= eta * (g + mu * v if nesterov else v)
        else:
            v = mu * v - eta * curvature * (theta + mu * v if nesterov else theta)
            theta += v
        path.append(theta)
    return np.array(path)


@pytest.mark.parametrize("method", ["nesterov", "heavy_ball"])
@pytest.mark.parametrize("decay", ["exponential", "polynomial", "cosine"])
@pytest.mark.parametrize("steps", [50, 500])
def test_the_critically_damped_schedule_uses_the_critical_rate_of_its_momentum(
    method, decay, steps
):
    """In torch's form θ never changes sign."""
    schedule = theory.critically_damped_schedule(method, 4.0, (0.5, 0.95), decay=decay)
    plan = schedule.plan(steps, 1)
    rates = [theory.critical_rate(method, mu, 4.0) for mu in plan.momentum]
    np.testing.assert_allclose(plan.lr, rates, rtol=1e-9)
    assert plan.momentum[0] == pytest.approx(0.5)
    assert 0.85 < plan.momentum[-1] <= 0.95
    assert (descend(plan, method, "torch", 4.0) > 0).all()
    assert (descend(plan, method, "classical", 4.0) < 0).any()


def test_the_critically_damped_schedule_overshoots_in_torchs_form_if_momentum_starts_near_0():
    plan = theory.critically_damped_schedule("nesterov", 4.0, (1e-6, 0.95)).plan(50, 1)
    assert -0.01 < descend(plan, "nesterov", "torch", 4.0).min() < -0.001


def test_schedules_of_the_theory_reject_values_out_of_range():
    with pytest.raises(RequestError, match="fall is -1"):
        theory.hyperbolic_schedule(0.1, -1, 10)
    with pytest.raises(RequestError, match="exponent is 0"):
        theory.power_schedule(0.1, 0, 10)
    with pytest.raises(RequestError, match="momentum is 0"):
        theory.critically_damped_schedule("nesterov", 1.0, (0.0, 0.5))
    with pytest.raises(RequestError, match="give the smaller one first"):
        theory.critically_damped_schedule("nesterov", 1.0, (0.9, 0.5))
