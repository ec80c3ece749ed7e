"""Schedules as objects of the frameworks, made in place.

Every function draws the schedule for a budget, or takes a plan that a run brings, and hands the
numbers to a few lines of the framework's own; those files say what happens to parameter groups,
checkpoints and the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lrsearch.export.drawing import draw, varying_momentum, warn_of_momentum
from lrsearch.schedule import Plan, Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from lrsearch.export.keras_rates import PlannedRate
    from lrsearch.export.timm_rates import PlannedScheduler
    from lrsearch.export.torch_rates import PlannedLR

__all__ = [
    "to_keras",
    "to_lightning",
    "to_optax",
    "to_optax_momentum",
    "to_timm",
    "to_torch",
    "to_transformers",
]


def to_torch(
    schedule: Schedule | Plan,
    optimizer: Optimizer,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
    ignore_batch: bool = False,
) -> PlannedLR:
    """A scheduler for a PyTorch loop: `scheduler.step()` after every `optimizer.step()`.

    The first parameter group gets the plan's rates as they stand, float64 for float64; the others
    keep their ratio to it. A varying momentum is set too, where the optimizer has one; a constant
    one is the optimizer's own, and one that differs from the schedule's is warned of. RMSprop
    needs a momentum above 0 at its first update.

        optimizer = torch.optim.SGD(model.parameters(), lr=schedule.peak, momentum=0.9)
        scheduler = lrsearch.export.to_torch(schedule, optimizer, steps=20_000)

    Args:
        schedule: the recipe, or a plan such as `run.plan` of an objective.
        optimizer: any of torch's.
        steps: updates of the run; not needed for a plan.
        batch: samples of the first update.
        momentum: where the schedule names none, for rules that vary it.
        ignore_batch: leave a growing batch to the data loader instead of refusing it.

    Raises:
        RequestError: the budget is too short for the recipe, or its batch grows.
    """
    from lrsearch.export.torch_rates import PlannedLR

    plan = draw(schedule, steps, batch, momentum, ignore_batch=ignore_batch)
    varying = varying_momentum(plan)
    if isinstance(schedule, Schedule) and schedule.momentum is not None and not varying:
        warn_of_momentum(optimizer, schedule.momentum)
    return PlannedLR(optimizer, plan.lr.tolist(), varying)


def to_transformers(
    schedule: Schedule | Plan,
    optimizer: Optimizer,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
    ignore_batch: bool = False,
) -> PlannedLR:
    """A scheduler for `transformers.Trainer(optimizers=(optimizer, scheduler))`.

    Arguments and errors as for `to_torch`; `steps` is the Trainer's `max_steps`. For shapes that
    transformers has itself see `transformers_arguments`.
    """
    return to_torch(
        schedule, optimizer, steps, batch, momentum=momentum, ignore_batch=ignore_batch
    )


def to_lightning(
    schedule: Schedule | Plan,
    optimizer: Optimizer,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
    ignore_batch: bool = False,
) -> dict[str, Any]:
    """What a LightningModule's `configure_optimizers` returns: stepped once an update.

    Arguments and errors as for `to_torch`; `steps` is the Trainer's `max_steps`.
    """
    scheduler = to_torch(
        schedule, optimizer, steps, batch, momentum=momentum, ignore_batch=ignore_batch
    )
    stepped = {"scheduler": scheduler, "interval": "step", "frequency": 1}
    return {"optimizer": optimizer, "lr_scheduler": stepped}


def to_timm(
    schedule: Schedule | Plan,
    optimizer: Optimizer,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
    ignore_batch: bool = False,
) -> PlannedScheduler:
    """A scheduler for timm's loop: `scheduler.step_update(num_updates)` after every update.

    Arguments and errors as for `to_torch`.
    """
    from lrsearch.export.timm_rates import PlannedScheduler

    plan = draw(schedule, steps, batch, momentum, ignore_batch=ignore_batch)
    return PlannedScheduler(optimizer, plan.lr.tolist(), varying_momentum(plan))


def to_optax(
    schedule: Schedule | Plan,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
    ignore_batch: bool = False,
    ignore_momentum: bool = False,
) -> Callable[[Any], Any]:
    """An optax schedule: the count of updates in, the learning rate out, in JAX's float type.

        optimizer = optax.adam(lrsearch.export.to_optax(schedule, steps=20_000))

    A varying momentum goes through `optax.inject_hyperparams`, with `to_optax_momentum`.

    Args:
        schedule: the recipe, or a plan such as `run.plan` of an objective.
        steps: updates of the run; not needed for a plan.
        batch: samples of the first update.
        momentum: where the schedule names none.
        ignore_batch: leave a growing batch to the data loader instead of refusing it.
        ignore_momentum: leave a varying momentum to the caller instead of refusing it.

    Raises:
        RequestError: the budget is too short for the recipe, or something would be lost.
    """
    from lrsearch.export.optax_rates import planned

    plan = draw(
        schedule,
        steps,
        batch,
        momentum,
        ignore_batch=ignore_batch,
        ignore_momentum=ignore_momentum,
    )
    return planned(plan.lr.tolist())


def to_optax_momentum(
    schedule: Schedule | Plan,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
) -> Callable[[Any], Any]:
    """The momentum as an optax schedule; arguments and errors as for `to_optax`."""
    from lrsearch.export.optax_rates import planned

    plan = draw(schedule, steps, batch, momentum, ignore_batch=True)
    return planned(plan.momentum.tolist())


def to_keras(
    schedule: Schedule | Plan,
    steps: int | None = None,
    batch: int = 1,
    *,
    momentum: float = 0.0,
    ignore_batch: bool = False,
    ignore_momentum: bool = False,
) -> PlannedRate:
    """A `keras.optimizers.schedules.LearningRateSchedule`, in float32.

        optimizer = keras.optimizers.Adam(lrsearch.export.to_keras(schedule, steps=20_000))

    Arguments and errors as for `to_optax`; Keras fixes its momentum when it compiles.
    """
    from lrsearch.export.keras_rates import PlannedRate

    plan = draw(
        schedule,
        steps,
        batch,
        momentum,
        ignore_batch=ignore_batch,
        ignore_momentum=ignore_momentum,
    )
    return PlannedRate(plan.lr.tolist())
