"""PyTorch: a `LambdaLR` that looks its rates up in a table."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrsearch.export.param_groups import (
    keep_ratios,
    look_up,
    set_momentum,
    set_rate,
    wanted_momentum,
)


class PlannedLR(LambdaLR):
    """Sets the learning rate of every update, and the momentum where it varies.

    The first parameter group gets the table's rates as they stand, the others keep their ratio to
    it. Call `step()` once after every `optimizer.step()`. After the last update its rate stays.
    `state_dict()` holds the update and not the table; `load_state_dict()` sets the rate again.

    Args:
        optimizer: any of torch's.
        lr: rate of every update, shape `[T]`.
        momentum: of every update, shape `[T]`, or empty to leave the optimizer's own.
    """

    def __init__(
        self, optimizer: Optimizer, lr: Sequence[float], momentum: Sequence[float] = ()
    ) -> None:
        self.lr, self.momentum = lr, wanted_momentum(optimizer, momentum)
        keep_ratios(optimizer)
        super().__init__(optimizer, partial(look_up, lr))

    def get_lr(self) -> list[float | Tensor]:
        """Rates of the groups at this update; sets the momentum, as torch's OneCycleLR does."""
        set_momentum(self.optimizer, self.momentum, self.last_epoch)
        rate = look_up(self.lr, self.last_epoch)
        return [ratio * rate for ratio in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The update and the groups' ratios."""
        return {k: v for k, v in super().state_dict().items() if k not in ("lr", "momentum")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the state was taken, whenever the optimizer's own state is loaded."""
        ratios = state_dict.get("base_lrs", [])
        if len(ratios) != len(self.base_lrs) or ratios[0] != 1.0 or "lr_lambdas" not in state_dict:
            raise ValueError(
                f"this is no state of a PlannedLR with {len(self.base_lrs)} parameter groups"
            )
        super().load_state_dict(state_dict)
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_rate(group, float(rate))
        self._last_lr = rates
