"""Functions that set learning rate and momentum in the parameter groups of a torch optimizer."""

import warnings
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer


def keep_ratios(optimizer: Optimizer) -> None:
    """Set the initial rate of every group to its ratio to the first group's rate.

    Schedulers multiply it. A reloaded optimizer keeps its ratios.
    """
    groups = optimizer.param_groups
    name = "initial_lr" if all("initial_lr" in group for group in groups) else "lr"
    rates = [float(group[name]) for group in groups]
    if len(rates) == 1:
        rates = [1.0]
    if rates[0] == 0:
        raise ValueError(
            "the first parameter group has learning rate 0, so the other groups have no ratio to "
            "it; set it to the peak"
        )
    for group, rate in zip(groups, rates, strict=True):
        group["initial_lr"] = rate / rates[0]


def look_up(lr: Sequence[float], t: int) -> float:
    """Return the rate of update t; after the last step, return the last rate and warn once."""
    if t == len(lr) + 1:  # len(lr) is usual: loops step the scheduler once more at their end
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
    """Return the plan's momentum; warn and return nothing if the optimizer has no momentum."""
    groups = optimizer.param_groups
    if not momentum or all("betas" in group or "momentum" in group for group in groups):
        return momentum
    kind = type(optimizer).__name__
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
