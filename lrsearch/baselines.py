"""The baselines: common schedules with which the searched schedule is compared.

They are conventions of the field, not optima. A comparison tunes the peak of each baseline on the
same grid as the peak of the searched schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lrsearch.schedule import Schedule

#: Warmup of every baseline except one-cycle, as a fraction of the run.
WARMUP = 0.05
#: Decay phase of WSD, as a fraction of the run (Hägele et al. 2024, arXiv 2405.18392).
COOLDOWN = 0.2


def _plain(decay: str, **fields: float) -> Callable[[float, float], Schedule]:
    return lambda peak, _: Schedule(peak=peak, warmup=WARMUP, decay=decay, **fields)  # type: ignore[arg-type]


def _one_cycle(peak: float, momentum: float) -> Schedule:
    """Return one-cycle (Smith and Topin 2019): a long warmup, and opposed momentum if any."""
    schedule = Schedule(peak=peak, warmup=0.3)
    if not momentum:
        return schedule
    low = momentum * 0.85 / 0.95  # base_momentum / max_momentum of torch's OneCycleLR
    return schedule.replace(momentum=momentum, momentum_rule="opposed", momentum_low=low)


#: Functions by name that make a baseline from a peak and the objective's momentum.
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
    """Return the baseline of a name.

    Args:
        name: a key of `BASELINES`.
        peak: the peak learning rate.
        momentum: momentum of the objective; 0 for none.
    """
    return BASELINES[name](peak, momentum)
