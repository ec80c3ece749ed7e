"""timm: a `Scheduler` that looks its rates up in a table."""

from collections.abc import Sequence
from typing import Any

from timm.scheduler.scheduler import Scheduler
from torch.optim import Optimizer

from lrsearch.export.param_groups import keep_ratios, look_up, set_momentum, wanted_momentum


class PlannedScheduler(Scheduler):
    """Sets the learning rate of every update, and the momentum where it varies.

    The first parameter group gets the table's rates as they stand, the others keep their ratio to
    it; an `lr_scale` of a group multiplies on top, as everywhere in timm. timm's training loop
    calls `step_update(num_updates)` after every update. After the last update its rate stays.

    Args:
        optimizer: any of torch's or timm's.
        lr: rate of every update, shape `[T]`.
        momentum: of every update, shape `[T]`, or empty to leave the optimizer's own.
    """

    def __init__(
        self, optimizer: Optimizer, lr: Sequence[float], momentum: Sequence[float] = ()
    ) -> None:
        self.lr, self.momentum = lr, wanted_momentum(optimizer, momentum)
        keep_ratios(optimizer)
        super().__init__(optimizer, "lr", t_in_epochs=False)
        self.step_update(0)

    def step_update(self, num_updates: int, metric: float | None = None) -> None:
        """Sets what the next update takes, after so many of them."""
        super().step_update(num_updates, metric)
        set_momentum(self.optimizer, self.momentum, num_updates)

    def state_dict(self) -> dict[str, Any]:
        """The state without the table."""
        return {k: v for k, v in super().state_dict().items() if k not in ("lr", "momentum")}

    def _get_lr(self, t: int) -> list[float]:
        rate = look_up(self.lr, t)
        return [ratio * rate for ratio in self.base_values]
