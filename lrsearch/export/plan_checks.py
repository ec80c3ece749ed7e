"""What an export refuses to lose of a plan on the way."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from lrsearch.errors import RequestError
from lrsearch.plan import Plan

if TYPE_CHECKING:
    from torch.optim import Optimizer


def check_plan(plan: Plan, *, ignore_batch: bool, ignore_momentum: bool = True) -> Plan:
    """Check that a framework that sets learning rates alone carries a plan.

    Args:
        plan: what is exported.
        ignore_batch: whether a growing batch may be left out.
        ignore_momentum: whether a varying momentum may be.

    Raises:
        RequestError: it is not a Plan, or something would be lost.
    """
    if not isinstance(plan, Plan):
        raise RequestError(
            f"an export takes a Plan, not {type(plan).__name__}; give schedule.plan(steps=…)"
        )
    if (plan.batch != plan.batch[0]).any() and not ignore_batch:
        raise RequestError(
            f"this schedule's batch grows from {plan.batch[0]} to {plan.batch.max()}, which no "
            "scheduler of learning rates carries; give ignore_batch (--ignore-batch) to leave "
            "that to your data loader"
        )
    if varying_momentum(plan) and not ignore_momentum:
        raise RequestError(
            "this schedule's momentum varies, which this framework's schedule of learning rates "
            "does not carry by itself; give ignore_momentum (--ignore-momentum)"
        )
    return plan


def varying_momentum(plan: Plan) -> list[float]:
    """Return the momentum of every update where it varies; else nothing."""
    varies = bool((plan.momentum != plan.momentum[0]).any())
    return plan.momentum.tolist() if varies else []


def warn_of_momentum(optimizer: Optimizer, plan: Plan) -> None:
    """Warn where an optimizer has another momentum than the plan's constant one."""
    momentum = float(plan.momentum[0])
    if not momentum or varying_momentum(plan):
        return
    group = optimizer.param_groups[0]
    own = group["betas"][0] if "betas" in group else group.get("momentum", momentum)
    if own != momentum:
        warnings.warn(
            f"the schedule was found at momentum {momentum:g}, this optimizer has {own:g}",
            stacklevel=3,
        )
