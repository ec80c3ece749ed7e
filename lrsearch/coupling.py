"""What moves with the learning rate: the batch, the rate's own scale factor, the momentum.

The batch grows at a held budget of samples, so two schedules that see different batches are still
compared at the same cost. The rate follows the batch by a power law (convention; the linear law is
measured below the critical batch size, the square root is derived for adaptive optimizers).
Momentum follows the rate by critical damping, proved for one eigenvalue and a constant rate, or
against it (convention of the one-cycle policy).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrsearch.curves import Curve, times

Batches = NDArray[np.int64]

#: Forms of the batch ramp r(x) with r(0) = 1 and r(1) = growth.
RAMPS = ("linear", "exponential")


def ramp(updates: int, batch: int, growth: float, form: str, budget: int) -> Batches:
    """B_t = round(B_0·r(t/T)), halves up, at most the whole budget; shape `[updates]`, samples.

    r(x) = 1 + (growth-1)·x where `form` is `linear`, growth^x where it is `exponential`.
    """
    x = times(updates)
    r = 1.0 + (growth - 1.0) * x if form == "linear" else float(growth) ** x
    return np.minimum(np.floor(batch * r + 0.5), budget).astype(np.int64)


def batch_plan(steps: int, batch: int, growth: float = 1.0, form: str = "exponential") -> Batches:
    """The batch of every update at a budget of exactly steps·batch samples.

    T is the smallest number of updates whose ramp covers the budget; the last batch is trimmed to
    it. The sum of a ramp over T updates increases strictly with T (each B_t of T updates is at
    most B_{t+1} of T+1), so bisection finds T, and the trimmed last batch holds at least one
    sample.

    Args:
        steps: updates that the budget would last at the first batch size.
        batch: B_0, samples of the first update.
        growth: final batch over first batch, at least 1.
        form: one of `RAMPS`.

    Returns:
        shape `[T]`, int64, samples per update, summing to steps·batch.
    """
    if growth == 1.0:
        return np.full(steps, batch, dtype=np.int64)
    budget = steps * batch
    low, high = 1, steps  # `steps` updates always cover the budget: no batch is below the first
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
    """(B_t/B_0)^coupling, shape `[T]`: the factor on the rate.

    Coupling 1 keeps the noise scale η/B of SGD (Smith et al. 2018, arXiv 1711.00489); ½ is the law
    for adaptive optimizers (Malladi et al. 2022, arXiv 2205.10287); 0 leaves the rate alone.
    """
    return np.asarray((batches / float(batch)) ** coupling)


def critical_momentum(
    lr: Curve, curvature: float, cap: float, *, nesterov: bool
) -> tuple[Curve, int]:
    """The momentum that damps a mode of the given curvature critically, at every update.

    Nesterov: μ = (1-√ηλ)/(1+√ηλ); heavy ball: μ = (1-√ηλ)². Both roots of the characteristic
    polynomial coincide there, which is proved for a constant rate and a single eigenvalue λ. It is
    the fastest setting that does not oscillate, not the fastest setting.

    Args:
        lr: η, shape `[T]`.
        curvature: λ > 0, loss per parameter squared.
        cap: the largest momentum to return.
        nesterov: the law for Nesterov's form, else for the heavy ball.

    Returns:
        μ of shape `[T]`, never above `cap`, and the number of updates with ηλ ≥ 1, where no
        momentum damps critically and 0 stands in.
    """
    root = np.sqrt(lr * curvature)
    beyond = root >= 1.0
    mu = (1.0 - root) / (1.0 + root) if nesterov else (1.0 - root) ** 2
    return np.minimum(np.where(beyond, 0.0, mu), cap), int(beyond.sum())


def opposed_momentum(uncoupled: Curve, high: float, low: float) -> Curve:
    """The one-cycle policy's momentum: high - (high-low)·(rate / its maximum), shape `[T]`.

    Source: Smith 2018, arXiv 1803.09820, section 4. A convention, not a law.
    """
    return np.asarray(high - (high - low) * (uncoupled / uncoupled.max()))
