"""Closed forms of the theory of learning-rate schedules.

Each function says which model it belongs to, whether its law is exact there, and which form of
momentum it means; the last few draw the schedules that follow. `λ` is a curvature (loss per
parameter squared), `η` a rate, `μ` a momentum.
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
    """Variance of `dθ = -aη θ dt + s dW` at a time, for η(t) = η0/(1+βt). Exact.

    With `scaled` false the noise is s = σ√η, as the textbook writes it, and the variance tends to
    σ²/2a whatever the schedule. With `scaled` true it is s = ση, what SGD does, and the variance
    of a decaying rate tends to 0.

    Args:
        time: T, at least 0.
        start: V0, the variance at time 0.
        pull: a, above 0.
        noise: σ, at least 0.
        rate: η0, above 0.
        fall: β, at least 0; 0 is a constant rate.
        scaled: whether the noise is proportional to the rate.

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
    """Change of V = ½λθ² + ½v² in one gradient step from rest, v = -ηλθ.

    Exact: ½λθ² · ηλ(η(λ+1) - 2), so energy is injected from η = 2/(λ+1) on. No stability limit:
    at λ = η = 1 the step injects nothing and lands on the minimum.
    """
    return 0.5 * curvature * position**2 * rate * curvature * (rate * (curvature + 1) - 2)


def energy_limit(curvature: float) -> float:
    """The rate 2/(λ+1) above which `energy_change` is positive."""
    return float(2 / (POSITIVE.check("curvature", curvature) + 1))


def stability_limit(method: str, momentum: float = 0.0) -> float:
    """The largest stable η·λ of a method at constant rate and momentum on one eigenvalue.

    Args:
        method: `gd`, `heavy_ball`, `nesterov`, or `adam` (there λ is of the preconditioned
            Hessian and momentum is β1; Cohen et al. 2022, arXiv 2207.14484).
        momentum: μ in [0, 1); 0 for `gd`.

    Raises:
        RequestError: the method is unknown or the momentum out of range.
    """
    Bound(kind="name", names=("gd", "heavy_ball", "nesterov", "adam")).check("method", method)
    mu = MOMENTUM.check("momentum", momentum)
    if method == "gd" and mu:
        raise RequestError(f"gd has no momentum, not {mu:g}; name heavy_ball or nesterov")
    limits = {
        "gd": 2.0,
        "heavy_ball": 2 * (1 + mu),
        "nesterov": 2 * (1 + mu) / (1 + 2 * mu),
        "adam": (2 + 2 * mu) / (1 - mu),
    }
    return float(limits[method])


def mean_square_limit(curvature: ArrayLike, batch: int) -> float:
    """The rate up to which constant-rate SGD converges in mean square on least squares.

    The root of Σ_i ηκλ_i/(2-ηλ_i) = 1, κ = 1/B - 1/D. Exact for multiplicative noise.

    Args:
        curvature: λ, shape `[D]`, above 0.
        batch: B, from 1 to D-1.

    Raises:
        RequestError: the batch leaves no noise, or is out of range.
    """
    from scipy import optimize  # 0.3 s of import that only this needs

    h = np.asarray(curvature, dtype=np.float64)
    Bound(kind="int", low=1, high=len(h) - 1).check("batch", batch)
    kappa, top = 1 / batch - 1 / len(h), 2 / float(h.max())

    def excess(rate: float) -> float:
        return float(np.sum(rate * kappa * h / (2 - rate * h))) - 1

    root: float = optimize.brentq(excess, 0.0, top * (1 - 1e-12), xtol=1e-14, rtol=1e-14)
    return root


def critical_rate(method: str, momentum: float, curvature: float) -> float:
    """The rate at which one eigenvalue is critically damped, at constant μ.

    Heavy ball (1-√μ)²/λ, where no rate is faster at that μ; Nesterov ((1-μ)/(1+μ))²/λ, where
    larger ones that oscillate are. The inverse of `lrsearch.coupling.critical_momentum`.

    Raises:
        RequestError: the method is neither, or a number is out of range.
    """
    Bound(kind="name", names=("heavy_ball", "nesterov")).check("method", method)
    mu = MOMENTUM.check("momentum", momentum)
    root = (1 - mu) / (1 + mu) if method == "nesterov" else 1 - math.sqrt(mu)
    return float(root**2 / POSITIVE.check("curvature", curvature))


def hamiltonian_momentum(rate: float, friction: float) -> float:
    """μ = 1 - γ√η, which discretises the damped Hamiltonian at constant rate.

    When the rate changes, the classical form needs √(η_t/η_{t-1}) besides, torch's its inverse.

    Raises:
        RequestError: the result would be no momentum.
    """
    momentum = 1 - friction * math.sqrt(POSITIVE.check("rate", rate))
    return float(MOMENTUM.check("momentum 1 - friction·√rate", momentum))


def stationary_variance(rate: float, curvature: float, noise: float) -> float:
    """Stationary variance of SGD on ½λθ² with gradient noise σ²: ησ²/(λ(2-ηλ)). Exact.

    Raises:
        RequestError: the rate is not below 2/λ, where there is none.
    """
    lam = POSITIVE.check("curvature", curvature)
    Bound(low=0, high=2 / lam, open_low=True, open_high=True).check("rate", rate)
    return float(rate * noise**2 / (lam * (2 - rate * lam)))


def pac_bayes_rate(curvature: float, prior: float, noise: float, *, exact: bool = True) -> float:
    """The rate whose stationary distribution has the prior's variance, so that the KL is 0.

    Args:
        curvature: λ.
        prior: τ, the prior's standard deviation.
        noise: σ, the gradient noise's.
        exact: 2λτ²/(σ²+λ²τ²), always below 2/λ; else the textbook's 2λτ²/σ², which holds for ηλ
            ≪ 1.
    """
    POSITIVE.check("curvature", curvature)
    POSITIVE.check("prior", prior)
    (NOT_NEGATIVE if exact else POSITIVE).check("noise", noise)
    top = 2 * curvature * prior * prior
    return top / (noise * noise + (top * curvature / 2 if exact else 0.0))


def noise_scale(rates: ArrayLike, batches: ArrayLike) -> np.ndarray:
    """η_t/B_t, to which the diffusion of SGD is proportional below the critical batch."""
    return np.asarray(rates, dtype=np.float64) / np.asarray(batches, dtype=np.float64)


def linear_scaling(rate: float, batch: int, new_batch: int) -> float:
    """The rate that keeps the noise scale at another batch (Goyal et al. 2017).

    It holds below the critical batch, and saturates at the stability limit.
    """
    return float(rate * COUNT.check("new_batch", new_batch) / COUNT.check("batch", batch))


def weight_decay_product(rates: ArrayLike, weight_decay: float) -> float:
    """∏(1-η_tλ): what coupled weight decay alone leaves of the initial weights. Exact."""
    return float(np.prod(1 - np.asarray(rates, dtype=np.float64) * weight_decay))


def convex_bound(rates: ArrayLike, *, distance: float = 1.0, gradient: float = 1.0) -> float:
    """A bound on the suboptimality of the last iterate of SGD on a convex Lipschitz function.

    Schaipp et al. 2025 (arXiv 2501.18965), from Defazio et al. 2023 (arXiv 2310.07831, Theorem
    10). Proved for convex losses; measured to rank schedules of language models well.

    Args:
        rates: shape `[T]`; trailing zeros are dropped, for a last rate of 0 makes it infinite.
        distance: D, from the start to a minimum.
        gradient: G, the bound on gradient norms.

    Raises:
        RequestError: no rate is above 0, or one within the run is not.
    """
    first, rest = _bound_terms(rates, distance, gradient)
    return first + rest


def convex_bound_best(
    shape: ArrayLike, *, distance: float = 1.0, gradient: float = 1.0
) -> tuple[float, float]:
    """The factor γ at which γ·shape has the least `convex_bound`, and that bound.

    γ* = √(t1/(t2+t3)) and Ω* = 2√(t1(t2+t3)); arguments and errors as for `convex_bound`.
    """
    first, rest = _bound_terms(shape, distance, gradient)
    return math.sqrt(first / rest), 2 * math.sqrt(first * rest)


def _bound_terms(rates: ArrayLike, distance: float, gradient: float) -> tuple[float, float]:
    """The term that falls with the rates' scale, and the two that grow with it."""
    eta = np.trim_zeros(np.asarray(rates, dtype=np.float64), "b")
    if not len(eta) or not (eta > 0).all() or not np.isfinite(eta).all():
        raise RequestError("the convex bound needs rates above 0; only trailing ones may be 0")
    total = float(eta.sum())
    tail = np.cumsum(eta[::-1])[::-1]  # Σ_{t≥k} η_t
    squares = np.cumsum(eta[::-1] ** 2)[::-1]
    third = 0.5 * float(np.sum(eta[:-1] / tail[1:] * squares[:-1] / tail[:-1]))
    second = float(squares[0]) / (2 * total)
    return distance**2 / (2 * total), gradient**2 * (second + third)


def hyperbolic_schedule(rate: float, fall: float, steps: int) -> Schedule:
    """η_t = η0/(1+βt), the schedule of `diffusion_variance`.

    Args:
        rate: η0, above 0.
        fall: β, per update, at least 0.
        steps: T, for which the recipe is made; for other budgets it is stretched.
    """
    return Schedule(
        peak=rate,
        decay="power_law",
        power=1.0,
        rate=NOT_NEGATIVE.check("fall", fall) * COUNT.check("steps", steps),
    )


def power_schedule(rate: float, exponent: float, steps: int) -> Schedule:
    """η_t = η0·(1+t)^-α; Ση = ∞ and Ση² < ∞ hold for ½ < α ≤ 1 (Robbins & Monro 1951).

    Args:
        rate: η0, above 0.
        exponent: α, above 0.
        steps: T, for which the recipe is made; drawn for other budgets it is stretched.
    """
    return Schedule(
        peak=rate,
        decay="power_law",
        power=POSITIVE.check("exponent", exponent),
        rate=float(COUNT.check("steps", steps)),
    )


def constant_noise_schedule(rate: float, growth: float, *, ramp: str = "exponential") -> Schedule:
    """η_t = g·B_t over a growing batch, so that `noise_scale` stays what it was.

    It holds the plateau of the loss; a batch that grows alone anneals (Smith et al. 2018, arXiv
    1711.00489).

    Args:
        rate: η0 = g·B_0, above 0; the last rate is `growth` times as large.
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
    """Rate and momentum together along the curve of `critical_rate`, as the momentum grows.

    Critical damping is proved at constant rate. While both change, from μ = ½ on, torch's form
    keeps it (measured: decays exponential, linear, cosine; 50 to 2000 updates); the classical form
    overshoots, and from μ = 0 on so does torch's, by a few thousandths in 50 updates.

    Args:
        method: `nesterov` or `heavy_ball`.
        curvature: λ, above 0.
        momenta: the first μ, and the larger one that the end approaches, in (0, 1).
        decay: of the rate between their critical rates.

    Raises:
        RequestError: a momentum is out of range, or the second is not the larger one.
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
        rate=-2 * math.log(floor),  # read by `exponential`, which ends within floor² of the floor
        floor=floor,
        momentum=last,
        momentum_rule=f"critical_{method}",
        curvature=curvature,
    )
