"""The speed at which a cosine decay falls."""

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
    """Test if a cosine falls slowly at first and then progressively faster.

    The chapter: it does. This is false for the slope, which is a sine: steepest in the middle of
    the run and slow again at the end. It is true for the relative slope,
    |d ln η/dx| = π·tan(πx/2), if the floor is 0; above a floor the relative slope also decreases
    at the end. Proved; measured on the differences of the curve, both ends included.
    Source of the schedule: Loshchilov & Hutter 2017, arXiv 1608.03983.

    Args:
        readings: meanings of "faster" to test, `slope` and `ratio` (the relative slope).
        floor: last rate / first rate, in [0, 1).

    Raises:
        RequestError: a reading is unknown or the floor is out of range.
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
        panels=(Panel(title="slope of a cosine decay", x="t/(T-1)", y="slope", lines=lines),),
        variants={"in relative terms with a floor of 1 %": _grows(_falls("ratio", 0.01))},
    )


def _falls(reading: str, floor: float) -> np.ndarray:
    """Return the fall per step of the rate or of its logarithm; a last rate of 0 is left out."""
    rates = draw("cosine", UPDATES, 1.0, floor)
    if reading == "slope":
        return np.abs(np.diff(rates))
    return np.abs(np.diff(np.log(rates[rates > 0])))


def _grows(falls: np.ndarray) -> bool:
    """Return True if no fall is smaller than the previous one, up to rounding."""
    return bool(np.all(np.diff(falls) >= -1e-12))
