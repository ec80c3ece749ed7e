"""The best possible schedule of a quadratic: every rate free, by adjoint gradient.

It answers how much of the possible gain a search over a family found. Written for plain SGD at
given batches; with momentum no reference is offered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrsearch.plan import Plan
from lrsearch.quadratic import Array, Quadratic, expected_loss


def best_rates(
    problem: Quadratic, batch: NDArray[np.int64], *, cap: float | None = None
) -> tuple[Array, float]:
    """The best possible schedule of plain SGD: all T rates free, none above the cap.

    L-BFGS-B on log η with the exact gradient by the adjoint of the recursion, from the best
    constant rate and from the best linear decay, keeping the better end. A local optimum, in
    practice the best known. Without a cap, larger batches make isolated steps of 3 to 23 times
    2/λ_max optimal (Chebyshev steps), which no training run would survive: hence the default.

    Args:
        problem: the quadratic.
        batch: shape `[T]`, samples per update.
        cap: the largest rate; None is 2/λ_max.

    Returns:
        the rates, shape `[T]`, and their expected loss.
    """
    from scipy import optimize  # 0.3 s of import that only this needs

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
    """Log of the final loss of plain SGD and its gradient in log η, by the adjoint recursion."""
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
