"""The schedules that one would have used anyway: what a search must beat.

Each has a short warmup, and a search tunes the peak of each as it tunes the winner's. They are
conventions of the field, not optima.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lrsearch.schedule import Schedule

#: Fraction of the run in which every baseline but one-cycle warms up.
WARMUP = 0.05
#: WSD: the fraction of the run that decays (Hägele et al. 2024, arXiv 2405.18392).
COOLDOWN = 0.2


def _plain(decay: str, **fields: float) -> Callable[[float, float], Schedule]:
    return lambda peak, _: Schedule(peak=peak, warmup=WARMUP, decay=decay, **fields)  # type: ignore[arg-type]


def _one_cycle(peak: float, momentum: float) -> Schedule:
    """One cycle (Smith and Topin 2019): a long warmup, momentum opposed where there is one."""
    schedule = Schedule(peak=peak, warmup=0.3)
    if not momentum:
        return schedule
    low = momentum * 0.85 / 0.95  # the ratio of torch's OneCycleLR
    return schedule.replace(momentum=momentum, momentum_rule="opposed", momentum_low=low)


#: Makes a baseline of a peak and of the objective's momentum, by name.
BASELINES: Mapping[str, Callable[[float, float], Schedule]] = MappingProxyType(
    {
        "constant": _plain("constant"),
        "linear": _plain("polynomial"),
        "cosine": _plain("cosine"),
        "wsd": _plain("root", power=0.5, hold=1 - COOLDOWN / (1 - WARMUP)),
        "step": _plain("step", drops=2, gamma=0.1),
        "onecycle": _one_cycle,
    }
)


def baseline(name: str, peak: float, momentum: float = 0.0) -> Schedule:
    """A baseline by name.

    Args:
        name: a key of `BASELINES`.
        peak: the learning rate at the top.
        momentum: of the objective.
    """
    return BASELINES[name](peak, momentum)
