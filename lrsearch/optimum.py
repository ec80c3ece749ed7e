"""The best possible schedule of a quadratic: every rate is free, optimised by adjoint gradient.

It shows how much of the possible gain a search over a family of schedules achieved. It is
implemented for plain SGD with given batches, not for momentum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrsearch.plan import Plan
from lrsearch.quadratic import Array, Quadratic, expected_loss


def best_rates(
    problem: Quadratic, batch: NDArray[np.int64], *, cap: float | None = None
) -> tuple[Array, float]:
    """Return the best possible schedule of plain SGD: all T rates are free up to the cap.

    The method is L-BFGS-B on log η with the exact gradient, from the adjoint of the recursion. It
    starts once from the best constant rate and once from the best linear decay, and keeps the
    better result. The result is a local optimum, in practice the best one known. Without a cap,
    isolated steps of 3 to 23 times 2/λ_max (Chebyshev steps) are optimal at larger batches. Real
    training would diverge at such rates, so the default cap is 2/λ_max.

    Args:
        problem: the quadratic.
        batch: batch size of every step, shape `[T]`, in samples.
        cap: the largest rate; None means 2/λ_max.

    Returns:
        the rates, shape `[T]`, and their expected loss.
    """
    from scipy import optimize  # importing it takes 0.3 s

    top = problem.largest_rate if cap is None else cap
    updates = len(batch)
    grid = top * np.geomspace(1e-3, 1.0, 40)
    rest = 1.0 - np.arange(updates) / updates
    begins = []
    for shape in (np.ones(updates), rest):
        plans = [Plan(peak * shape, batch, np.zeros(updates)) for peak in grid]
        finals = [curve[-1] for curve in expected_loss(problem, plans)]
        begins.append(np.log(plans[int(np.argmin(finals))].lr))
    ends = [
        optimize.minimize(
            _log_loss_and_gradient,
            begin,
            args=(problem, batch.astype(np.float64)),
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, np.log(top))] * updates,
            options={"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-9},
        )
        for begin in begins
    ]
    best = min(ends, key=lambda end: float(end.fun))
    return np.exp(best.x), float(np.exp(best.fun))


def _log_loss_and_gradient(
    log_rates: Array, problem: Quadratic, batch: Array
) -> tuple[float, Array]:
    """Return the log of plain SGD's final loss and its gradient in log η (adjoint recursion)."""
    h, rates = problem.curvature, np.exp(log_rates)
    scale, profile = problem.noise_law(batch)
    multiplicative = problem.noise == "multiplicative"
    states = np.empty((len(rates) + 1, problem.modes))
    states[0] = problem.start
    for t, rate in enumerate(rates):
        strength = scale[t] * (states[t] @ h if multiplicative else 1.0)
        states[t + 1] = (1.0 - rate * h) ** 2 * states[t] + rate**2 * strength * profile
    loss = 0.5 * float(states[-1] @ h)
    adjoint = 0.5 * h
    gradient = np.empty_like(rates)
    for t in range(len(rates) - 1, -1, -1):
        rate, keep = rates[t], 1.0 - rates[t] * h
        strength = scale[t] * (states[t] @ h if multiplicative else 1.0)
        kick = adjoint @ profile
        gradient[t] = -2.0 * (adjoint * h * keep) @ states[t] + 2.0 * rate * strength * kick
        adjoint = keep**2 * adjoint
        if multiplicative:
            adjoint = adjoint + rate**2 * scale[t] * kick * h
    return float(np.log(loss)), gradient * rates / loss
