"""The total variation F = Σ|η_t - η_{t-1}| as a measure of smoothness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.claims.chapter import CURVES, check_names, draw
from lrsearch.curves import Curve, smooth
from lrsearch.errors import RequestError
from lrsearch.finding import Finding, Line, Panel
from lrsearch.variation import (
    largest_jump,
    quadratic_variation,
    second_variation,
    total_variation,
)

UPDATES, HIGH, LOW = 300, 0.1, 0.001
#: Relative differences below this count as rounding.
ROUNDING = 1e-9
PADDINGS = ("edge", "zero")
WORDS = {"restarts": "cosine with restarts", "step": "step decay with flat ends"}

MEASURES: Mapping[str, Callable[[ArrayLike], float]] = {
    "F": total_variation,
    "quadratic variation": quadratic_variation,
    "largest jump": largest_jump,
    "second-order variation": second_variation,
}


def flatness(*, measure: str = "F", schedules: Mapping[str, ArrayLike] | None = None) -> Finding:
    """Test if F is higher for a step decay than for smooth decays.

    The chapter: F is high for step decay and low for a cosine. This is false: F of any monotone
    curve is the telescoping sum |η_0 - η_{T-1}|, so all decays from .1 to .001 have F = .099. The
    quadratic variation, the largest jump and the second-order variation do distinguish them.
    Proved; measured on drawn curves. Source: the definition of total variation (Jordan 1881).

    Args:
        measure: a key of `MEASURES`.
        schedules: learning rates by name, the steep schedule first; None means step, cosine,
            linear and exponential decay from .1 to .001 over 300 steps, both ends included.

    Raises:
        RequestError: the measure is unknown, or there are fewer than two schedules.
    """
    check_names("measure", [measure], MEASURES)
    if schedules is None:
        schedules = {
            name: draw(name, UPDATES, HIGH, LOW)
            for name in ("step", "cosine", "linear", "exponential")
        }
    if len(schedules) < 2:
        raise RequestError(f"flatness compares schedules; give two or more, not {len(schedules)}")
    rates = {name: np.asarray(curve, dtype=np.float64) for name, curve in schedules.items()}
    steep, *others = rates

    def tells(name: str, other: str) -> bool:
        return MEASURES[name](rates[steep]) > MEASURES[name](rates[other]) * (1 + ROUNDING)

    cases = {f"{measure} of {steep} above that of {name}": tells(measure, name) for name in others}
    variants = {
        f"{name} of {steep} above that of all others": all(tells(name, o) for o in others)
        for name in MEASURES
        if name != measure
    }
    figures = {
        f"{name.replace(' ', '_').replace('-', '_')}_{curve}": function(values)
        for name, function in MEASURES.items()
        for curve, values in rates.items()
    }
    equal = len({round(total_variation(curve), 9) for curve in rates.values()}) == 1
    panel = _panel("equal F, unequal shape" if equal else "F", rates)
    return Finding(cases=cases, figures=figures, panels=(panel,), variants=variants)


def _panel(title: str, rates: Mapping[str, Curve]) -> Panel:
    return Panel(
        title=title,
        x="step",
        y="learning rate",
        lines=tuple(
            Line(label=name, x=tuple(range(len(curve))), y=tuple(curve))
            for name, curve in rates.items()
        ),
    )


def smoothing(
    *,
    curves: Sequence[str] = ("linear", "restarts", "step"),
    paddings: Sequence[str] = PADDINGS,
    width: int = 31,
) -> Finding:
    """Test if a moving average lowers F.

    The chapter: it does. This is true with edge padding, but the effect is small. A monotone curve
    loses only the change at its ends, so the last rate of a linear decay rises; a step decay with
    flat ends keeps its F exactly. With zero padding the average adds a warmup and a final drop,
    and F may rise. With edge padding F never rises: the average is a mixture of shifts of one
    curve, and no shift has a larger F (proved). No randomness.
    Source: the variation-diminishing property of averaging kernels (Schoenberg 1948).

    Args:
        curves: names in `lrsearch.claims.chapter.CURVES`; `restarts` is three cosine cycles.
        paddings: `edge`, `zero` or both.
        width: width of the window in steps, odd.

    Raises:
        RequestError: a name is unknown or the width is even.
    """
    if width % 2 == 0:
        raise RequestError(f"width is {width}; give an odd number of steps")
    check_names("curve", curves, CURVES)
    check_names("padding", paddings, PADDINGS)
    cases: dict[str, bool] = {}
    figures: dict[str, float] = {}
    panels = []
    for name in curves:
        words = WORDS.get(name, f"{name} decay")
        before = draw(name, UPDATES, HIGH, LOW)
        after = {padding: _average(before, width, padding) for padding in paddings}
        keys = {name: before, **{f"{name}_{padding}": curve for padding, curve in after.items()}}
        for key, curve in keys.items():
            figures[f"F_{key}"] = total_variation(curve)
            figures[f"last_rate_{key}"] = float(curve[-1])
        most = figures[f"F_{name}"] * (1 - ROUNDING)
        for padding in paddings:
            cases[f"{padding} padding, {words}"] = figures[f"F_{name}_{padding}"] < most
        drawn = {"not smoothed": before, **{f"{p} padding": curve for p, curve in after.items()}}
        panels.append(_panel(f"{words}, window {width}", drawn))
    return Finding(cases=cases, figures=figures, panels=tuple(panels))


def _average(curve: Curve, width: int, padding: str) -> Curve:
    """Return a centred moving average, shape `[T]`."""
    if padding == "edge":
        return smooth(curve, (width - 1) / len(curve))
    return np.convolve(curve, np.ones(width) / width, mode="same")
