"""The plan that an export carries, and what it refuses to lose on the way."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from lrsearch.errors import RequestError
from lrsearch.schedule import Plan, Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["draw", "varying_momentum", "warn_of_momentum"]


def draw(
    schedule: Schedule | Plan,
    steps: int | None,
    batch: int,
    momentum: float,
    *,
    ignore_batch: bool,
    ignore_momentum: bool = True,
) -> Plan:
    """Draws a schedule for somebody who sets learning rates alone.

    Args:
        schedule: the recipe, or a plan that has been drawn already, such as a run's.
        steps: updates of the run; None for a plan.
        batch: samples of the first update.
        momentum: where the schedule names none.
        ignore_batch: whether a growing batch may be left out.
        ignore_momentum: whether a varying momentum may be.

    Raises:
        RequestError: the budget is too short for the recipe, or something would be lost.
    """
    if isinstance(schedule, Plan):
        if steps not in (None, len(schedule)):
            raise RequestError(
                f"this plan has {len(schedule)} updates; leave steps out, or give the Schedule"
            )
        plan = schedule
    elif steps is None:
        raise RequestError("a Schedule holds no budget; give steps, the updates of the run")
    else:
        plan = schedule.plan(steps, batch, momentum=momentum)
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
    """Momentum of every update where it varies; empty where the optimizer keeps its own."""
    varies = bool((plan.momentum != plan.momentum[0]).any())
    return plan.momentum.tolist() if varies else []


def warn_of_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Says so where an optimizer has another momentum than the schedule was found at."""
    group = optimizer.param_groups[0]
    own = group["betas"][0] if "betas" in group else group.get("momentum", momentum)
    if own != momentum:
        warnings.warn(
            f"the schedule was found at momentum {momentum:g}, this optimizer has {own:g}",
            stacklevel=3,
        )
