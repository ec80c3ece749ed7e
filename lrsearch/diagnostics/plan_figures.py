"""Diagnostics of a schedule alone, which need no training."""

from __future__ import annotations

import numpy as np

from lrsearch.plan import Plan
from lrsearch.theory import noise_scale, weight_decay_product
from lrsearch.variation import (
    largest_jump,
    quadratic_variation,
    second_variation,
    total_variation,
)


def diagnose_plan(
    plan: Plan, *, weight_decay: float = 0.0, curvature: float | None = None
) -> dict[str, float]:
    """Return the diagnostics of a plan, with the names of `lrsearch.diagnostics.names`.

    Args:
        plan: rates and batch sizes of all steps.
        weight_decay: λ of ∏(1-η_t λ).
        curvature: largest eigenvalue of the Hessian, or None if it is unknown.
    """
    scale = noise_scale(plan.lr, plan.batch)
    figures = {
        "total_variation": total_variation(plan.lr),
        "quadratic_variation": quadratic_variation(plan.lr),
        "largest_jump": largest_jump(plan.lr),
        "second_variation": second_variation(plan.lr),
        "rate_sum": float(plan.lr.sum()),
        "rate_square_sum": float(np.square(plan.lr).sum()),
        "noise_scale": float(scale.mean()),
        "noise_scale_spread": float(scale.std() / scale.mean()) if scale.any() else 0.0,
    }
    if weight_decay:
        figures["decay_product"] = weight_decay_product(plan.lr, weight_decay)
    if curvature is not None:
        above = int((plan.lr * curvature > 2).sum())
        figures |= {"updates_above_limit": above, "time_above_limit": above / len(plan)}
    return figures
