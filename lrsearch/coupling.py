"""Batch size and momentum that change together with the learning rate.

The batch grows at a fixed budget of samples, so schedules with different batches are compared at
the same cost. The rate follows the batch by a power law. This is a convention: the linear law is
measured below the critical batch size, the square root is derived for adaptive optimizers. The
momentum follows the rate by critical damping, which is proved for one eigenvalue and a constant
rate, or changes opposite to the rate, which is the convention of the one-cycle policy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrsearch.curves import Curve, elementwise, powers, times

Batches = NDArray[np.int64]

#: Forms of the batch ramp r(x), with r(0) = 1 and r(1) = growth.
RAMPS = ("linear", "exponential")


def ramp(updates: int, batch: int, growth: float, form: str, budget: int) -> Batches:
    """Return the batch sizes B_t = round(B_0·r(t/T)) in samples, shape `[updates]`.

    Halves are rounded up.

    Args:
        updates: T, the number of steps.
        batch: B_0, the first batch size.
        growth: r(1).
        form: `linear` for r(x) = 1 + (growth-1)·x, `exponential` for r(x) = growth^x.
        budget: the largest batch size.
    """
    x = times(updates)
    if form == "linear":
        r = 1.0 + (growth - 1.0) * x
    else:
        r = elementwise(lambda time: float(growth) ** time, x)
    return np.minimum(np.floor(batch * r + 0.5), budget).astype(np.int64)


def batch_plan(steps: int, batch: int, growth: float = 1.0, form: str = "exponential") -> Batches:
    """Return the batch size of every step for a budget of exactly steps·batch samples.

    T is the smallest number of steps whose ramp covers the budget; the last batch is trimmed to
    fit. The sum of a ramp over T steps increases strictly with T (each B_t of T steps is at most
    B_{t+1} of T+1 steps), so T is found by bisection and the last batch has at least one sample.

    Args:
        steps: number of steps for which the budget lasts at the first batch size.
        batch: B_0, the first batch size, in samples.
        growth: final batch size / first batch size, at least 1.
        form: one of `RAMPS`.

    Returns:
        batch sizes in samples, int64, shape `[T]`; their sum is steps·batch.
    """
    if growth == 1.0:
        return np.full(steps, batch, dtype=np.int64)
    budget = steps * batch
    low, high = 1, steps  # `steps` steps always cover the budget: no batch is below the first
    while low < high:
        middle = (low + high) // 2
        if int(ramp(middle, batch, growth, form, budget).sum()) >= budget:
            high = middle
        else:
            low = middle + 1
    sizes = ramp(low, batch, growth, form, budget)
    sizes[-1] -= int(sizes.sum()) - budget
    return sizes


def coupled_scale(batches: Batches, batch: int, coupling: float) -> Curve:
    """Return the factor (B_t/B_0)^coupling on the learning rate, shape `[T]`.

    Coupling 1 keeps the noise scale η/B of SGD (Smith et al. 2018, arXiv 1711.00489); ½ is the law
    for adaptive optimizers (Malladi et al. 2022, arXiv 2205.10287); 0 does not change the rate.
    """
    return powers(batches / float(batch), coupling)


def critical_momentum(
    lr: Curve, curvature: float, cap: float, *, nesterov: bool
) -> tuple[Curve, int]:
    """Return the momentum that critically damps a mode of the given curvature, for every step.

    Nesterov: μ = (1-√ηλ)/(1+√ηλ); heavy ball: μ = (1-√ηλ)². There the two roots of the
    characteristic polynomial coincide, which is proved for a constant rate and one eigenvalue λ.
    It is the fastest setting without oscillation, but not the fastest setting.

    Args:
        lr: η, shape `[T]`.
        curvature: λ, above 0, in loss per parameter squared.
        cap: the largest momentum to return.
        nesterov: True for Nesterov's momentum, False for the heavy ball.

    Returns:
        μ of shape `[T]`, at most `cap`, and the number of steps with ηλ ≥ 1. For these steps no
        momentum damps critically, and μ is 0.
    """
    root = np.sqrt(lr * curvature)
    beyond = root >= 1.0
    mu = (1.0 - root) / (1.0 + root) if nesterov else (1.0 - root) ** 2
    return np.minimum(np.where(beyond, 0.0, mu), cap), int(beyond.sum())


def opposed_momentum(uncoupled: Curve, high: float, low: float) -> Curve:
    """Return the momentum of the one-cycle policy, high - (high-low)·rate/max(rate), shape `[T]`.

    Source: Smith 2018, arXiv 1803.09820, section 4. A convention, not a law.

    Args:
        uncoupled: the rate before its coupling to the batch, shape `[T]`.
        high: the momentum as the rate approaches 0.
        low: the momentum at the largest rate.
    """
    return np.asarray(high - (high - low) * (uncoupled / uncoupled.max()))
