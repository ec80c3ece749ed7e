"""Checks that an export keeps all of a plan."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from lrsearch.errors import RequestError
from lrsearch.plan import Plan

if TYPE_CHECKING:
    from torch.optim import Optimizer


def check_plan(plan: Plan, *, ignore_batch: bool, ignore_momentum: bool = True) -> Plan:
    """Check that a framework that sets only learning rates can apply a plan.

    Args:
        plan: the plan.
        ignore_batch: True if a growing batch may be left out.
        ignore_momentum: True if a varying momentum may be left out.

    Raises:
        RequestError: it is not a Plan, or the framework cannot set a part of it.
    """
    if not isinstance(plan, Plan):
        raise RequestError(
            f"an export takes a Plan, not {type(plan).__name__}; give schedule.plan(steps=…)"
        )
    if (plan.batch != plan.batch[0]).any() and not ignore_batch:
        raise RequestError(
            f"the batch of this schedule grows from {plan.batch[0]} to {plan.batch.max()}, which "
            "a learning-rate scheduler cannot do; give `ignore_batch=` and grow it in your data "
            "loader"
        )
    if varying_momentum(plan) and not ignore_momentum:
        raise RequestError(
            "the momentum of this schedule varies, which a learning-rate schedule of this "
            "framework cannot do; give `ignore_momentum=` to leave it out"
        )
    return plan


def varying_momentum(plan: Plan) -> list[float]:
    """Return the momentum of every step if it varies, else an empty list."""
    varies = bool((plan.momentum != plan.momentum[0]).any())
    return plan.momentum.tolist() if varies else []


def warn_of_momentum(optimizer: Optimizer, plan: Plan) -> None:
    """Warn if the optimizer's momentum differs from the plan's constant momentum."""
    momentum = plan.momentum[0]
    if not momentum or varying_momentum(plan):
        return
    group = optimizer.param_groups[0]
    own = group["betas"][0] if "betas" in group else group.get("momentum", momentum)
    if own != momentum:
        warnings.warn(
            f"the schedule was searched with momentum {momentum:g}; this optimizer has {own:g}",
            stacklevel=3,
        )
