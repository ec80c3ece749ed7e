"""Functions that set learning rate and momentum in the parameter groups of a torch optimizer."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def check_first_group(optimizer: Optimizer) -> None:
    """Check that the first of several groups has a learning rate, to which others have a ratio.

    Raises:
        ValueError: its learning rate is 0.
    """
    first, *others = optimizer.param_groups
    if others and float(first.get("initial_lr", first["lr"])) == 0:
        raise ValueError(
            "the first parameter group has learning rate 0, so the other groups have no ratio to "
            "it; set it to the peak"
        )


def add_new_groups(optimizer: Optimizer, base: list[Any]) -> None:
    """Append the initial rates of parameter groups that were added to the optimizer.

    A new group keeps the ratio to the first group's rate that it has now.
    """
    for group in optimizer.param_groups[len(base) :]:
        now = float(optimizer.param_groups[0]["lr"]) or float(base[0])
        group.setdefault("initial_lr", float(group["lr"]) / now * float(base[0]))
        base.append(float(group["initial_lr"]))


def planned_rates(base: Sequence[Any], rate: float) -> list[Any]:
    """Return the rate of every group: the plan's for the first, in proportion for the others."""
    first, *others = map(float, base)
    return [rate, *(initial / first * rate for initial in others)]


def look_up(lr: Sequence[float], t: int) -> float:
    """Return the rate of update t; after the last step, return the last rate and warn once."""
    if t == len(lr) + 1:  # not at len(lr): loops step the scheduler after the last step too
        warnings.warn(
            f"the schedule has {len(lr)} steps and is over; the last learning rate stays",
            stacklevel=6,
        )
    return lr[min(t, len(lr) - 1)]


def set_rate(group: dict[str, object], rate: float) -> None:
    """Set a group's learning rate, in place if it is a tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def wanted_momentum(optimizer: Optimizer, momentum: Sequence[float]) -> Sequence[float]:
    """Return the plan's momentum; warn and return nothing if the optimizer has no momentum.

    Raises:
        ValueError: RMSprop, which makes its buffers in the first step, would begin without them.
    """
    groups, kind = optimizer.param_groups, type(optimizer).__name__
    if not momentum or all("betas" in group or "momentum" in group for group in groups):
        if kind == "RMSprop" and momentum and momentum[0] == 0:
            raise ValueError(
                "the momentum of this schedule starts at 0 and rises, which RMSprop cannot do; "
                "use another optimizer, or a schedule of constant momentum"
            )
        return momentum
    warnings.warn(f"{kind} has no momentum, so the plan's momentum is not applied", stacklevel=3)
    return ()


def set_momentum(optimizer: Optimizer, momentum: Sequence[float], t: int) -> None:
    """Set the momentum (or beta1) of every group for update t, unless `momentum` is empty."""
    if not momentum:
        return
    value = momentum[min(t, len(momentum) - 1)]
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
