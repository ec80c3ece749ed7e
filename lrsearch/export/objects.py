"""Plans as objects of the frameworks, made in place.

Every function hands the numbers of a plan, a schedule drawn for a budget, to a few lines of the
framework's own; those files say what happens to parameter groups, checkpoints and the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lrsearch.export.plan_checks import check_plan, varying_momentum, warn_of_momentum
from lrsearch.plan import Plan

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from lrsearch.export.keras_rates import PlannedRate
    from lrsearch.export.timm_rates import PlannedScheduler
    from lrsearch.export.torch_rates import PlannedLR


def to_torch(plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False) -> PlannedLR:
    """Make a scheduler for a PyTorch loop: `scheduler.step()` after every `optimizer.step()`.

    The first parameter group gets the plan's rates as they stand, float64 for float64; the others
    keep their ratio to it. A varying momentum is set too, where the optimizer has one; a constant
    one is the optimizer's own, and one that differs from the schedule's is warned of. RMSprop
    needs a momentum above 0 at its first update.

        optimizer = torch.optim.SGD(model.parameters(), lr=schedule.peak, momentum=0.9)
        scheduler = lrsearch.export.to_torch(schedule.plan(steps=20_000), optimizer)

    Args:
        plan: a schedule drawn for a budget, or an objective's `run.plan`.
        optimizer: any of torch's.
        ignore_batch: leave a growing batch to the data loader instead of refusing it.

    Raises:
        RequestError: the plan's batch grows.
    """
    from lrsearch.export.torch_rates import PlannedLR

    check_plan(plan, ignore_batch=ignore_batch)
    warn_of_momentum(optimizer, plan)
    return PlannedLR(optimizer, plan.lr.tolist(), varying_momentum(plan))


def to_transformers(plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False) -> PlannedLR:
    """Make a scheduler for `transformers.Trainer(optimizers=(optimizer, scheduler))`.

    Arguments and errors as for `to_torch`; the plan's length is the Trainer's `max_steps`. For
    shapes that transformers has itself see `transformers_arguments`.
    """
    return to_torch(plan, optimizer, ignore_batch=ignore_batch)


def to_lightning(
    plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False
) -> dict[str, Any]:
    """Make what a LightningModule's `configure_optimizers` returns: stepped once an update.

    Arguments and errors as for `to_torch`; the plan's length is the Trainer's `max_steps`.
    """
    scheduler = to_torch(plan, optimizer, ignore_batch=ignore_batch)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1},
    }


def to_timm(plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False) -> PlannedScheduler:
    """Make a scheduler for timm's loop: `scheduler.step_update(num_updates)` after every update.

    Arguments and errors as for `to_torch`.
    """
    from lrsearch.export.timm_rates import PlannedScheduler

    check_plan(plan, ignore_batch=ignore_batch)
    return PlannedScheduler(optimizer, plan.lr.tolist(), varying_momentum(plan))


def to_optax(
    plan: Plan, *, ignore_batch: bool = False, ignore_momentum: bool = False
) -> Callable[[Any], Any]:
    """Make an optax schedule: the count of updates in, the learning rate in JAX's float type out.

        optimizer = optax.adam(lrsearch.export.to_optax(schedule.plan(steps=20_000)))

    A varying momentum goes through `optax.inject_hyperparams`, with `to_optax_momentum`.

    Args:
        plan: a schedule drawn for a budget, or an objective's `run.plan`.
        ignore_batch: leave a growing batch to the data loader instead of refusing it.
        ignore_momentum: leave a varying momentum to the caller instead of refusing it.

    Raises:
        RequestError: something would be lost.
    """
    from lrsearch.export.optax_rates import planned

    check_plan(plan, ignore_batch=ignore_batch, ignore_momentum=ignore_momentum)
    return planned(plan.lr.tolist())


def to_optax_momentum(plan: Plan) -> Callable[[Any], Any]:
    """Make an optax schedule of the momentum; arguments as for `to_optax`."""
    from lrsearch.export.optax_rates import planned

    return planned(check_plan(plan, ignore_batch=True).momentum.tolist())


def to_keras(
    plan: Plan, *, ignore_batch: bool = False, ignore_momentum: bool = False
) -> PlannedRate:
    """Make a `keras.optimizers.schedules.LearningRateSchedule`, in float32.

        optimizer = keras.optimizers.Adam(lrsearch.export.to_keras(schedule.plan(steps=20_000)))

    Arguments and errors as for `to_optax`; Keras fixes its momentum when it compiles.
    """
    from lrsearch.export.keras_rates import PlannedRate

    check_plan(plan, ignore_batch=ignore_batch, ignore_momentum=ignore_momentum)
    return PlannedRate(plan.lr.tolist())
