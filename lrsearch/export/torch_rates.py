"""PyTorch: a `LambdaLR` with a table of rates."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrsearch.export.param_groups import (
    add_new_groups,
    check_first_group,
    look_up,
    planned_rates,
    set_momentum,
    set_rate,
    wanted_momentum,
)


class PlannedLR(LambdaLR):
    """A scheduler that sets the learning rate of every step, and the momentum if it varies.

    The first parameter group gets the rates of the table. Other groups keep their ratio to it,
    also those that are added later. Call `step()` once after every `optimizer.step()`. After the
    last step, the last rate stays. `state_dict()` has the step but not the table, and
    `load_state_dict()` sets the rate again.

    Args:
        optimizer: any optimizer of torch.
        lr: learning rate of every step, shape `[T]`.
        momentum: momentum of every step, shape `[T]`; empty to leave the optimizer's momentum.
    """

    def __init__(
        self, optimizer: Optimizer, lr: Sequence[float], momentum: Sequence[float] = ()
    ) -> None:
        self.lr, self.momentum = lr, wanted_momentum(optimizer, momentum)
        self.kind = "PlannedLR"  # recognised by `load_state_dict`
        check_first_group(optimizer)
        super().__init__(optimizer, partial(look_up, lr))

    def get_lr(self) -> list[float | Tensor]:
        """Return the rates of the groups, and set the momentum as torch's OneCycleLR does."""
        set_momentum(self.optimizer, self.momentum, self.last_epoch)
        add_new_groups(self.optimizer, self.base_lrs)
        return planned_rates(self.base_lrs, look_up(self.lr, self.last_epoch))

    def state_dict(self) -> dict[str, Any]:
        """Return the step and the ratios of the groups."""
        return {k: v for k, v in super().state_dict().items() if k not in ("lr", "momentum")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state; the optimizer's state may be loaded before or after it."""
        groups = len(state_dict.get("base_lrs", []))
        if state_dict.get("kind") != self.kind or groups != len(self.base_lrs):
            raise ValueError(
                f"this is not a state of a PlannedLR with {len(self.base_lrs)} parameter groups"
            )
        super().load_state_dict(state_dict)
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_rate(group, float(rate))
        self._last_lr = rates
