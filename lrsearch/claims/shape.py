"""How a cosine falls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.claims.chapter import both_ends, check_names, draw
from lrsearch.finding import Finding, Line, Panel

READINGS = {
    "slope": "in absolute terms, |dη/dx|",
    "ratio": "in relative terms, |d ln η/dx|",
}
UPDATES = 1_001


def cosine_shape(*, readings: Sequence[str] = tuple(READINGS), floor: float = 0.0) -> Finding:
    """Whether a cosine falls slowly at first and then ever faster.

    The chapter: it does. Not in the slope, which is a sine: steepest at half time, slow again at
    the end. In ratio it does, |d ln η/dx| = π·tan(πx/2), as long as the floor is 0; above a floor
    the ratio slows down at the end too. Proved; the drawn curve is differenced, both ends
    included. Source of the schedule: Loshchilov & Hutter 2017, arXiv 1608.03983.

    Args:
        readings: which of `slope` and `ratio` the statement is held to.
        floor: the last rate over the first, in [0, 1).

    Raises:
        RequestError: a reading is unknown or the floor out of range.
    """
    Bound(low=0, high=1, open_high=True).check("floor", floor)
    check_names("reading", readings, READINGS)
    x = both_ends(UPDATES)
    middle, dx = 0.5 * (x[1:] + x[:-1]), float(x[1])
    above = f", floor {floor:g}" if floor else ""
    slope, ratio = _falls("slope", floor) / dx, _falls("ratio", floor) / dx
    figures = {
        "steepest_at": float(middle[int(np.argmax(slope))]),
        "slope_at_start": float(slope[0]),
        "slope_at_half_time": float(slope.max()),
        "slope_at_end": float(slope[-1]),
        "ratio_at_half_time": float(np.interp(0.5, middle[: len(ratio)], ratio)),
    }
    if floor == 0:
        early = middle < 0.99
        law = np.pi * np.tan(np.pi * middle[early] / 2)
        figures["largest_error_of_pi_tan"] = float(
            np.abs(ratio[early[: len(ratio)]] / law - 1).max()
        )
    shown = middle < 0.95
    lines = (
        Line(label="|dη/dx|", x=tuple(middle), y=tuple(slope)),
        Line(label="|d ln η/dx|", x=tuple(middle[shown]), y=tuple(ratio[shown[: len(ratio)]])),
    )
    return Finding(
        cases={READINGS[r] + above: _grows(_falls(r, floor)) for r in readings},
        figures=figures,
        panels=(Panel(title="how fast a cosine falls", x="t/(T-1)", y="per run", lines=lines),),
        variants={"in relative terms above a floor of 1 %": _grows(_falls("ratio", 0.01))},
    )


def _falls(reading: str, floor: float) -> np.ndarray:
    """The fall of every update, of the rate or of its logarithm; a last rate of 0 has none."""
    rates = draw("cosine", UPDATES, 1.0, floor)
    if reading == "slope":
        return np.abs(np.diff(rates))
    return np.abs(np.diff(np.log(rates[rates > 0])))


def _grows(falls: np.ndarray) -> bool:
    """Whether no fall is smaller than the one before, up to rounding."""
    return bool(np.all(np.diff(falls) >= -1e-12))
