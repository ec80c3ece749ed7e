"""What the plan's numbers do to a torch optimizer's parameter groups."""

import warnings
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer


def keep_ratios(optimizer: Optimizer) -> None:
    """Makes every group's initial rate its ratio to the first group's, which schedulers multiply.

    An optimizer that was reloaded keeps its own.
    """
    groups = optimizer.param_groups
    name = "initial_lr" if all("initial_lr" in group for group in groups) else "lr"
    rates = [float(group[name]) for group in groups]
    if len(rates) == 1:
        rates = [1.0]
    if rates[0] == 0:
        raise ValueError(
            "the first parameter group has learning rate 0, so the others have no ratio to it; "
            "give it the peak"
        )
    for group, rate in zip(groups, rates, strict=True):
        group["initial_lr"] = rate / rates[0]


def look_up(lr: Sequence[float], t: int) -> float:
    """The rate of update t; after the last update its rate stays, with one warning."""
    if t == len(lr) + 1:  # one step past the last update is usual
        warnings.warn(
            f"the schedule's {len(lr)} updates are over; its last rate stays", stacklevel=6
        )
    return lr[min(t, len(lr) - 1)]


def set_rate(group: dict[str, object], rate: float) -> None:
    """Sets a group's learning rate, which stays a tensor where it is one."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def wanted_momentum(optimizer: Optimizer, momentum: Sequence[float]) -> Sequence[float]:
    """The plan's momentum where the optimizer has one; else nothing, with a warning."""
    groups = optimizer.param_groups
    if not momentum or all("betas" in group or "momentum" in group for group in groups):
        return momentum
    kind = type(optimizer).__name__
    warnings.warn(f"{kind} has no momentum, so the plan's is left out", stacklevel=3)
    return ()


def set_momentum(optimizer: Optimizer, momentum: Sequence[float], t: int) -> None:
    """Sets momentum, or beta1, of every group for update t; an empty plan sets nothing."""
    if not momentum:
        return
    value = momentum[min(t, len(momentum) - 1)]
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
