"""Curves of the chapter, in its time convention: both endpoints are included, x = t/(T-1).

Everywhere else in lrsearch x = t/T. Here the last step has exactly the low rate, so the figures
can be compared with those of the chapter digit by digit.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.curves import Curve

#: Names of the curves; `step` has three equal pieces, `restarts` three cosine cycles.
CURVES = ("constant", "linear", "cosine", "exponential", "step", "restarts")


def check_names(word: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Check that all names of a premise are known.

    Args:
        word: noun for one name in the error message, such as `noise`.
        names: the given names.
        known: the allowed names.

    Raises:
        RequestError: a name is unknown.
    """
    bound = Bound(kind="name", names=tuple(known))
    for name in names:
        bound.check(word, name)


def both_ends(updates: int) -> Curve:
    """Return the times x = t/(T-1) from 0 to 1, shape `[T]`."""
    return np.linspace(0.0, 1.0, updates)


def draw(name: str, updates: int, high: float, low: float) -> Curve:
    """Return the rates of a named curve from high to low, shape `[T]`.

    Args:
        name: one of `CURVES`.
        updates: T, the number of steps, at least 6.
        high: the first rate.
        low: the last rate; above 0 for `exponential` and `step`.

    Raises:
        RequestError: the name is unknown or a number is out of range.
    """
    Bound(kind="name", names=CURVES).check("curve", name)
    Bound(kind="int", low=6).check("updates", updates)
    if name == "restarts":
        ends = [updates * i // 3 for i in range(4)]
        return np.concatenate([draw("cosine", ends[i + 1] - ends[i], high, low) for i in range(3)])
    x = both_ends(updates)
    if name in ("exponential", "step"):
        Bound(low=0, open_low=True).check("low", low)
        fallen = x if name == "exponential" else np.arange(updates) * 3 // updates / 2
        return np.asarray(high * (low / high) ** fallen)
    fallen = {"constant": 0.0 * x, "linear": x, "cosine": 0.5 * (1 - np.cos(np.pi * x))}[name]
    return np.asarray(high + (low - high) * fallen)
