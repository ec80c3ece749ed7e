"""Closed forms of the theory of learning-rate schedules.

Each docstring names the model, says if the law is exact for it, and gives the form of momentum.
The last functions return the schedules that follow from these laws. `λ` is a curvature (loss per
parameter squared), `η` a learning rate, `μ` a momentum.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.bounds import COUNT, Bound
from lrsearch.errors import RequestError
from lrsearch.schedule import Schedule

POSITIVE = Bound(low=0, open_low=True)
NOT_NEGATIVE = Bound(low=0)
MOMENTUM = Bound(low=0, high=1, open_high=True)


def diffusion_variance(
    time: float,
    *,
    start: float,
    pull: float,
    noise: float,
    rate: float,
    fall: float = 0.0,
    scaled: bool = False,
) -> float:
    """Return the variance of `dθ = -aη θ dt + s dW` at a time, for η(t) = η0/(1+βt). Exact.

    If `scaled` is False, the noise is s = σ√η, as in textbooks, and the variance tends to σ²/2a
    for all β. If `scaled` is True, the noise is s = ση, as in SGD, and the variance tends to 0 for
    a decaying rate.

    Args:
        time: T, at least 0.
        start: V0, the variance at time 0, at least 0.
        pull: a, above 0.
        noise: σ, at least 0.
        rate: η0, above 0.
        fall: β, at least 0; 0 is a constant rate.
        scaled: True if the noise is proportional to the rate.

    Raises:
        RequestError: an argument is out of range.
    """
    for name, value in (("time", time), ("start", start), ("noise", noise), ("fall", fall)):
        NOT_NEGATIVE.check(name, value)
    POSITIVE.check("pull", pull)
    POSITIVE.check("rate", rate)
    if fall == 0:
        limit = (rate if scaled else 1.0) * noise**2 / (2 * pull)
        return (start - limit) * math.exp(-2 * pull * rate * time) + limit
    growth = 1 + fall * time
    power = 2 * pull * rate / fall
    if not scaled:
        limit = noise**2 / (2 * pull)
        return (start - limit) * math.pow(growth, -power) + limit
    if 2 * pull * rate == fall:
        return (start + rate**2 * noise**2 / fall * math.log(growth)) / growth
    c = rate**2 * noise**2 / (2 * pull * rate - fall)
    return (start - c) * math.pow(growth, -power) + c / growth


def energy_change(rate: float, curvature: float, position: float = 1.0) -> float:
    """Return the change of V = ½λθ² + ½v² in one gradient step from rest, v = -ηλθ.

    Exact: ½λθ² · ηλ(η(λ+1) - 2), which is positive for η > 2/(λ+1). This is not the stability
    limit: at λ = η = 1 the step adds no energy and reaches the minimum. `position` is θ before the
    step.
    """
    return 0.5 * curvature * position**2 * rate * curvature * (rate * (curvature + 1) - 2)


def energy_limit(curvature: float) -> float:
    """Return the rate 2/(λ+1), above which `energy_change` is positive."""
    return float(2 / (POSITIVE.check("curvature", curvature) + 1))


def stability_limit(method: str, momentum: float = 0.0) -> float:
    """Return the largest stable η·λ of a method at constant rate and momentum, for one eigenvalue.

    Args:
        method: `gd`, `heavy_ball`, `nesterov`, or `adam`, for which λ is an eigenvalue of the
            preconditioned Hessian and momentum is β1 (Cohen et al. 2022, arXiv 2207.14484).
        momentum: μ in [0, 1); 0 for `gd`.

    Raises:
        RequestError: the method is unknown or the momentum out of range.
    """
    Bound(kind="name", names=("gd", "heavy_ball", "nesterov", "adam")).check("method", method)
    mu = MOMENTUM.check("momentum", momentum)
    if method == "gd" and mu:
        raise RequestError(f"gd has no momentum, not {mu:g}; use heavy_ball or nesterov")
    limits = {
        "gd": 2.0,
        "heavy_ball": 2 * (1 + mu),
        "nesterov": 2 * (1 + mu) / (1 + 2 * mu),
        "adam": (2 + 2 * mu) / (1 - mu),
    }
    return float(limits[method])


def mean_square_limit(curvature: ArrayLike, batch: int) -> float:
    """Return the rate below which SGD at a constant rate converges in mean square.

    It is the root of Σ_i ηκλ_i/(2-ηλ_i) = 1 with κ = 1/B - 1/D. Exact for least squares with
    multiplicative noise.

    Args:
        curvature: λ, shape `[D]`, above 0.
        batch: B, from 1 to D-1; at D there is no noise.

    Raises:
        RequestError: the batch is out of range.
    """
    from scipy import optimize  # importing it takes 0.3 s

    h = np.asarray(curvature, dtype=np.float64)
    Bound(kind="int", low=1, high=len(h) - 1).check("batch", batch)
    kappa, top = 1 / batch - 1 / len(h), 2 / float(h.max())

    def excess(rate: float) -> float:
        return float(np.sum(rate * kappa * h / (2 - rate * h))) - 1

    root: float = optimize.brentq(excess, 0.0, top * (1 - 1e-12), xtol=1e-14, rtol=1e-14)
    return root


def critical_rate(method: str, momentum: float, curvature: float) -> float:
    """Return the rate at which one eigenvalue is critically damped, at constant μ.

    Heavy ball: (1-√μ)²/λ; no rate converges faster at this μ. Nesterov: ((1-μ)/(1+μ))²/λ; some
    larger rates oscillate and converge faster. The inverse of
    `lrsearch.coupling.critical_momentum`.

    Raises:
        RequestError: the method is unknown, or a number is out of range.
    """
    Bound(kind="name", names=("heavy_ball", "nesterov")).check("method", method)
    mu = MOMENTUM.check("momentum", momentum)
    root = (1 - mu) / (1 + mu) if method == "nesterov" else 1 - math.sqrt(mu)
    return float(root**2 / POSITIVE.check("curvature", curvature))


def hamiltonian_momentum(rate: float, friction: float) -> float:
    """Return μ = 1 - γ√η, which discretises the damped Hamiltonian at a constant rate.

    When the rate changes, μ needs a further factor: √(η_t/η_{t-1}) in the classical form of
    momentum, the inverse in torch's form.

    Raises:
        RequestError: the result is not in [0, 1).
    """
    momentum = 1 - friction * math.sqrt(POSITIVE.check("rate", rate))
    return float(MOMENTUM.check("momentum 1 - friction·√rate", momentum))


def stationary_variance(rate: float, curvature: float, noise: float) -> float:
    """Return the stationary variance ησ²/(λ(2-ηλ)) of SGD on ½λθ². Exact.

    Args:
        rate: η, above 0 and below 2/λ.
        curvature: λ, above 0.
        noise: σ, the standard deviation of the gradient noise.

    Raises:
        RequestError: a number is out of range.
    """
    lam = POSITIVE.check("curvature", curvature)
    Bound(low=0, high=2 / lam, open_low=True, open_high=True).check("rate", rate)
    return float(rate * noise**2 / (lam * (2 - rate * lam)))


def pac_bayes_rate(curvature: float, prior: float, noise: float, *, exact: bool = True) -> float:
    """Return the rate at which SGD's stationary variance equals the prior's, so the KL is 0.

    Args:
        curvature: λ, above 0.
        prior: τ, the standard deviation of the prior, above 0.
        noise: σ, the standard deviation of the gradient noise.
        exact: True for 2λτ²/(σ²+λ²τ²), which is always below 2/λ; False for the textbook formula
            2λτ²/σ², which is accurate for ηλ ≪ 1.
    """
    POSITIVE.check("curvature", curvature)
    POSITIVE.check("prior", prior)
    (NOT_NEGATIVE if exact else POSITIVE).check("noise", noise)
    top = 2 * curvature * prior * prior
    return top / (noise * noise + (top * curvature / 2 if exact else 0.0))


def noise_scale(rates: ArrayLike, batches: ArrayLike) -> np.ndarray:
    """Return η_t/B_t, to which the diffusion of SGD is proportional below the critical batch."""
    return np.asarray(rates, dtype=np.float64) / np.asarray(batches, dtype=np.float64)


def linear_scaling(rate: float, batch: int, new_batch: int) -> float:
    """Return the rate that keeps the noise scale at another batch size (Goyal et al. 2017).

    The rule holds below the critical batch size; the best rate saturates at the stability limit.
    """
    return float(rate * COUNT.check("new_batch", new_batch) / COUNT.check("batch", batch))


def weight_decay_product(rates: ArrayLike, weight_decay: float) -> float:
    """Return ∏(1-η_tλ), by which coupled weight decay alone scales the initial weights. Exact."""
    return float(np.prod(1 - np.asarray(rates, dtype=np.float64) * weight_decay))


def convex_bound(rates: ArrayLike, *, distance: float = 1.0, gradient: float = 1.0) -> float:
    """Return a bound on the suboptimality of SGD's last iterate, for convex Lipschitz losses.

    Source: Schaipp et al. 2025 (arXiv 2501.18965), from Defazio et al. 2023 (arXiv 2310.07831,
    Theorem 10). Proved for convex losses; they report that it also ranks schedules of language
    models well.

    Args:
        rates: learning rates, shape `[T]`. Trailing zeros are dropped, because a last rate of 0
            makes the bound infinite.
        distance: D, the distance from the start to a minimum.
        gradient: G, the bound on gradient norms.

    Raises:
        RequestError: no rate is above 0, or a rate before the last positive one is not.
    """
    first, rest = _bound_terms(rates, distance, gradient)
    return first + rest


def convex_bound_best(
    shape: ArrayLike, *, distance: float = 1.0, gradient: float = 1.0
) -> tuple[float, float]:
    """Return the factor γ at which γ·shape has the smallest `convex_bound`, and that bound.

    γ* = √(t1/(t2+t3)) and Ω* = 2√(t1(t2+t3)), where t1 is the term that falls with γ and t2, t3
    are the terms that grow with it. Arguments and errors are those of `convex_bound`.
    """
    first, rest = _bound_terms(shape, distance, gradient)
    return math.sqrt(first / rest), 2 * math.sqrt(first * rest)


def _bound_terms(rates: ArrayLike, distance: float, gradient: float) -> tuple[float, float]:
    """Return the term that falls with the scale of the rates, and the sum of those that grow."""
    eta = np.trim_zeros(np.asarray(rates, dtype=np.float64), "b")
    if not len(eta) or not (eta > 0).all() or not np.isfinite(eta).all():
        raise RequestError("the convex bound needs rates above 0; only trailing rates may be 0")
    total = float(eta.sum())
    tail = np.cumsum(eta[::-1])[::-1]  # Σ_{t≥k} η_t
    squares = np.cumsum(eta[::-1] ** 2)[::-1]
    third = 0.5 * float(np.sum(eta[:-1] / tail[1:] * squares[:-1] / tail[:-1]))
    second = float(squares[0]) / (2 * total)
    return distance**2 / (2 * total), gradient**2 * (second + third)


def hyperbolic_schedule(rate: float, fall: float, steps: int) -> Schedule:
    """Return the schedule η_t = η0/(1+βt) of `diffusion_variance`.

    Args:
        rate: η0, above 0.
        fall: β, per step, at least 0.
        steps: T, at which the schedule has this β. At other numbers of steps it is stretched.
    """
    return Schedule(
        peak=rate,
        decay="power_law",
        power=1.0,
        rate=NOT_NEGATIVE.check("fall", fall) * COUNT.check("steps", steps),
    )


def power_schedule(rate: float, exponent: float, steps: int) -> Schedule:
    """Return the schedule η_t = η0·(1+t)^-α.

    Ση = ∞ and Ση² < ∞ hold for ½ < α ≤ 1 (Robbins & Monro 1951).

    Args:
        rate: η0, above 0.
        exponent: α, above 0.
        steps: T, at which the schedule has this form. At other numbers of steps it is stretched.
    """
    return Schedule(
        peak=rate,
        decay="power_law",
        power=POSITIVE.check("exponent", exponent),
        rate=float(COUNT.check("steps", steps)),
    )


def constant_noise_schedule(rate: float, growth: float, *, ramp: str = "exponential") -> Schedule:
    """Return the schedule η_t = g·B_t with a growing batch, which keeps `noise_scale` constant.

    The loss stays on its plateau. A growing batch at a constant rate anneals the noise (Smith et
    al. 2018, arXiv 1711.00489).

    Args:
        rate: η0 = g·B_0, above 0; the rate approaches `growth` times this value.
        growth: B_T/B_0, at least 1.
        ramp: `exponential` or `linear`.
    """
    return Schedule(
        peak=rate, decay="constant", batch_growth=growth, batch_ramp=ramp, coupling=1.0
    )


def critically_damped_schedule(
    method: str,
    curvature: float,
    momenta: tuple[float, float] = (0.5, 0.95),
    *,
    decay: str = "exponential",
) -> Schedule:
    """Return a schedule whose rate is the `critical_rate` of its momentum while both change.

    Critical damping is proved for a constant rate. While both change, starting at μ = ½, torch's
    form does not oscillate (measured for exponential, linear and cosine decay in 50 to 2000
    steps). The classical form overshoots. Starting at μ = 0, torch's form also overshoots, by a
    few thousandths in 50 steps.

    Args:
        method: `nesterov` or `heavy_ball`.
        curvature: λ, above 0.
        momenta: the first μ, and the larger μ that the schedule approaches, both in (0, 1).
        decay: decay of the rate between the two critical rates.

    Raises:
        RequestError: a momentum is out of range, or the second is not larger than the first.
    """
    inside = Bound(low=0, high=1, open_low=True, open_high=True)
    first, last = (inside.check("momentum", momentum) for momentum in momenta)
    if last <= first:
        raise RequestError(f"momenta are {first:g} and {last:g}; give the smaller one first")
    peak = critical_rate(method, first, curvature)
    floor = critical_rate(method, last, curvature) / peak
    return Schedule(
        peak=peak,
        decay=decay,
        rate=-2 * math.log(floor),  # for `exponential`, which ends within floor² of the floor
        floor=floor,
        momentum=last,
        momentum_rule=f"critical_{method}",
        curvature=curvature,
    )
