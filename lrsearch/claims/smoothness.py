"""Is the total variation F = Σ|η_t - η_{t-1}| a measure of smoothness?"""

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
#: Differences below this are rounding.
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
    """Whether F tells a step decay from smooth ones.

    The chapter: F is high for step decay and low for a cosine. It is not: F of any monotone curve
    is |η_0 - η_{T-1}|, the telescoping sum, so from .1 to .001 all have F = .099. The quadratic
    variation, the largest jump and the second-order variation do tell them apart. Proved; the
    curves are drawn and measured. Source: the definition of total variation (Jordan 1881).

    Args:
        measure: a key of `MEASURES`.
        schedules: rates by name, the steep one first; None draws step, cosine, linear and
            exponential decay from .1 to .001 over 300 updates, both ends included.

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
        raise RequestError(f"flatness compares schedules, not {len(schedules)}; give two or more")
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
        x="update",
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
    """Whether a moving average lowers F.

    The chapter: it does. True with edge padding, if by little: a monotone curve loses only what
    its ends give up, so the last rate of a line rises; a step with flat ends keeps its F exactly.
    With zeros beyond the ends the average invents a warmup and a drop, and F may rise. F never
    rises under edge padding: a moving average with it is a mixture of shifts of one curve, none
    of which varies more (proved). No randomness. Source: the variation-diminishing property of
    averaging kernels (Schoenberg 1948).

    Args:
        curves: names of `lrsearch.claims.chapter.CURVES`; `restarts` is three cosine cycles.
        paddings: `edge`, `zero` or both.
        width: of the window in updates, odd.

    Raises:
        RequestError: a name is unknown or the width even.
    """
    if width % 2 == 0:
        raise RequestError(f"width is {width}; give an odd number of updates")
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
        drawn = {"as drawn": before, **{f"{p} padding": curve for p, curve in after.items()}}
        panels.append(_panel(f"{words}, window {width}", drawn))
    return Finding(cases=cases, figures=figures, panels=tuple(panels))


def _average(curve: Curve, width: int, padding: str) -> Curve:
    """A centred moving average, shape `[T]`."""
    if padding == "edge":
        return smooth(curve, (width - 1) / len(curve))
    return np.convolve(curve, np.ones(width) / width, mode="same")
