"""timm: a `Scheduler` with a table of rates."""

from collections.abc import Sequence
from typing import Any

from timm.scheduler.scheduler import Scheduler
from torch.optim import Optimizer

from lrsearch.export.param_groups import (
    add_new_groups,
    check_first_group,
    look_up,
    planned_rates,
    set_momentum,
    wanted_momentum,
)


class PlannedScheduler(Scheduler):
    """A scheduler that sets the learning rate of every step, and the momentum if it varies.

    The first parameter group gets the rates of the table; other groups keep their ratio to
    it. A group's `lr_scale` multiplies its rate, as in timm's own schedulers. timm's training loop
    calls `step_update(num_updates)` after every step. After the last step, the last rate stays.

    Args:
        optimizer: any optimizer of torch or timm.
        lr: learning rate of every step, shape `[T]`.
        momentum: momentum of every step, shape `[T]`; empty to leave the optimizer's momentum.
    """

    def __init__(
        self, optimizer: Optimizer, lr: Sequence[float], momentum: Sequence[float] = ()
    ) -> None:
        self.lr, self.momentum = lr, wanted_momentum(optimizer, momentum)
        check_first_group(optimizer)
        super().__init__(optimizer, "lr", t_in_epochs=False)
        self.step_update(0)

    def step_update(self, num_updates: int, metric: float | None = None) -> None:
        """Set the rate and momentum of the next step, after `num_updates` steps."""
        super().step_update(num_updates, metric)
        set_momentum(self.optimizer, self.momentum, num_updates)

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the table."""
        return {k: v for k, v in super().state_dict().items() if k not in ("lr", "momentum")}

    def _get_lr(self, t: int) -> list[float]:
        add_new_groups(self.optimizer, self.base_values)
        return planned_rates(self.base_values, look_up(self.lr, t))
