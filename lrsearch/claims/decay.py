"""The norm of the weights under weight decay."""

from __future__ import annotations

import math

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.claims.chapter import draw
from lrsearch.curves import Curve
from lrsearch.finding import Finding, Line, Panel
from lrsearch.theory import weight_decay_product

UPDATES, HIGH, LOW = 300, 0.1, 0.001
SHAPES = ("step", "linear", "cosine", "exponential")


def weight_decay(
    *, decay: float = 0.1, task_curvature: float = 0.0, momentum: float = 0.0
) -> Finding:
    """Compare the norm of the weights under coupled decay with the product ∏(1-η_tλ).

    The chapter: effective decay is ∏(1-η_tλ), so the norm depends on the whole history of the
    rate. This is exactly true without a task gradient and without momentum. To first order in ηλ
    only the sum Ση matters: schedules of equal sum differ by λ²Ση²/2, and the order of the rates
    never matters. With a task gradient or with momentum the product is wrong.
    Source: Loshchilov & Hutter 2019, arXiv 1711.05101. The update loop is run; no randomness.

    Args:
        decay: λ, above 0.
        task_curvature: h of a task loss ½h(θ-1)²; 0 means no task.
        momentum: μ of the heavy ball in torch's form.

    Raises:
        RequestError: a number is out of range.
    """
    Bound(low=0, open_low=True).check("decay", decay)
    Bound(low=0).check("task_curvature", task_curvature)
    Bound(low=0, high=1, open_high=True).check("momentum", momentum)
    rates = {name: draw(name, UPDATES, HIGH, LOW) for name in SHAPES}
    curves = {name: _shrink(r, decay, task_curvature, momentum) for name, r in rates.items()}
    norms = {name: float(curve[-1]) for name, curve in curves.items()}
    error = max(abs(norms[name] / weight_decay_product(r, decay) - 1) for name, r in rates.items())
    condition = (
        f"task curvature {task_curvature:g}, momentum {momentum:g}"
        if task_curvature or momentum
        else "no task gradient, no momentum"
    )
    equal = rates["linear"] * (rates["cosine"].sum() / rates["linear"].sum())
    same_sum = float(_shrink(equal, decay, task_curvature, momentum)[-1])
    figures = {
        **{f"norm_{name}": value for name, value in norms.items()},
        "largest_error_of_product": error,
        "first_order_cosine": math.exp(-decay * float(rates["cosine"].sum())),
        "equal_sum_difference": abs(same_sum / norms["cosine"] - 1),
    }
    spread = max(norms.values()) / min(norms.values())
    cases = {
        f"{condition}: the norm is the product": error < 1e-9,
        f"{condition}: equal first and last rates, different norms": spread > 1.01,
    }
    variants = {
        "norms differ by over 0.1 % at equal Ση": figures["equal_sum_difference"] > 1e-3,
        "with a task gradient (h = 0.5) the norm is the product": _is_product(decay, 0.5, 0.0),
        "with momentum 0.9 the norm is the product": _is_product(decay, 0.0, 0.9),
    }
    return Finding(
        cases=cases,
        figures=figures,
        panels=(
            Panel(
                title="norm under weight decay",
                x="step",
                y="norm / initial",
                lines=tuple(
                    Line(label=name, x=tuple(np.arange(UPDATES + 1)), y=tuple(curve))
                    for name, curve in curves.items()
                ),
            ),
        ),
        variants=variants,
    )


def _shrink(rates: Curve, decay: float, task_curvature: float, momentum: float) -> Curve:
    """Return norm / initial norm before every step and after the last, shape `[T+1]`."""
    theta, velocity, norms = np.array([0.6, -0.8]), np.zeros(2), [1.0]
    for rate in rates:
        velocity = momentum * velocity + decay * theta + task_curvature * (theta - 1)
        theta = theta - rate * velocity
        norms.append(float(np.linalg.norm(theta)))
    return np.array(norms)


def _is_product(decay: float, task_curvature: float, momentum: float) -> bool:
    rates = draw("cosine", UPDATES, HIGH, LOW)
    norm = float(_shrink(rates, decay, task_curvature, momentum)[-1])
    return abs(norm / weight_decay_product(rates, decay) - 1) < 1e-9
