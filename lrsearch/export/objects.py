"""Plans as objects of training frameworks.

Each function passes the numbers of a plan (a schedule drawn for a budget) to a small class of the
framework. The files of these classes document parameter groups, checkpoints and the last step.
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

    The first parameter group gets exactly the plan's rates in float64; other groups keep their
    ratio to it. A varying momentum is set too if the optimizer has one. A constant momentum is not
    set; there is a warning if the optimizer's differs from the plan's.

        optimizer = torch.optim.SGD(model.parameters(), lr=schedule.peak, momentum=0.9)
        scheduler = lrsearch.export.to_torch(schedule.plan(steps=20_000), optimizer)

    Args:
        plan: a schedule drawn for a budget, or an objective's `run.plan`.
        optimizer: any optimizer of torch.
        ignore_batch: True to leave a growing batch to the data loader; otherwise it is an error.

    Raises:
        RequestError: the plan's batch grows.
        ValueError: the momentum of an RMSprop rises from 0.
    """
    from lrsearch.export.torch_rates import PlannedLR

    check_plan(plan, ignore_batch=ignore_batch)
    warn_of_momentum(optimizer, plan)
    return PlannedLR(optimizer, plan.lr.tolist(), varying_momentum(plan))


def to_transformers(plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False) -> PlannedLR:
    """Make a scheduler for `transformers.Trainer(optimizers=(optimizer, scheduler))`.

    Arguments and errors are those of `to_torch`; set the Trainer's `max_steps` to the plan's
    length. For shapes that transformers has itself, see `transformers_arguments`.
    """
    return to_torch(plan, optimizer, ignore_batch=ignore_batch)


def to_lightning(
    plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False
) -> dict[str, Any]:
    """Make the value that `configure_optimizers` of a LightningModule returns.

    Arguments and errors are those of `to_torch`; set the Trainer's `max_steps` to the plan's
    length.
    """
    scheduler = to_torch(plan, optimizer, ignore_batch=ignore_batch)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1},
    }


def to_timm(plan: Plan, optimizer: Optimizer, *, ignore_batch: bool = False) -> PlannedScheduler:
    """Make a scheduler for timm's loop: `scheduler.step_update(num_updates)` after every step.

    Arguments and errors are those of `to_torch`.
    """
    from lrsearch.export.timm_rates import PlannedScheduler

    check_plan(plan, ignore_batch=ignore_batch)
    return PlannedScheduler(optimizer, plan.lr.tolist(), varying_momentum(plan))


def to_optax(
    plan: Plan, *, ignore_batch: bool = False, ignore_momentum: bool = False
) -> Callable[[Any], Any]:
    """Make an optax schedule: a function from the step count to the rate, in JAX's float type.

        optimizer = optax.adam(lrsearch.export.to_optax(schedule.plan(steps=20_000)))

    Pass a varying momentum through `optax.inject_hyperparams`, with `to_optax_momentum`.

    Args:
        plan: a schedule drawn for a budget, or an objective's `run.plan`.
        ignore_batch: True to leave a growing batch to the data loader; otherwise it is an error.
        ignore_momentum: True to leave a varying momentum to the caller; otherwise it is an error.

    Raises:
        RequestError: the framework cannot set a part of the plan.
    """
    from lrsearch.export.optax_rates import planned

    check_plan(plan, ignore_batch=ignore_batch, ignore_momentum=ignore_momentum)
    return planned(plan.lr.tolist())


def to_optax_momentum(plan: Plan) -> Callable[[Any], Any]:
    """Make an optax schedule of the momentum, from the plan of `to_optax`."""
    from lrsearch.export.optax_rates import planned

    return planned(check_plan(plan, ignore_batch=True).momentum.tolist())


def to_keras(
    plan: Plan, *, ignore_batch: bool = False, ignore_momentum: bool = False
) -> PlannedRate:
    """Make a `keras.optimizers.schedules.LearningRateSchedule`, in float32.

        optimizer = keras.optimizers.Adam(lrsearch.export.to_keras(schedule.plan(steps=20_000)))

    Arguments and errors are those of `to_optax`. Keras cannot change the momentum after compiling.
    """
    from lrsearch.export.keras_rates import PlannedRate

    check_plan(plan, ignore_batch=ignore_batch, ignore_momentum=ignore_momentum)
    return PlannedRate(plan.lr.tolist())
