"""Which schedules compete in a comparison, and at which peaks they are run first."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lrsearch.baselines import BASELINES, baseline
from lrsearch.comparison import CURRENT, CURRENT_TUNED, DEFAULT
from lrsearch.errors import RequestError, log
from lrsearch.ranges import Entry, Range
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import ComparisonPlan, TunedShape

#: Numbers of seeds of the smallest comparison, the largest first. A convention: with fewer than
#: three seeds nothing can be shown, and more than sixteen are worth a comparison with baselines.
PAIR_SEEDS = tuple(range(16, 2, -1))
#: Number of peaks of the grid, and smaller numbers for a limited number of runs.
GRID_PEAKS, SMALLER = 9, (7, 5, 3)


def peak_grid(
    anchor: float, low: float, high: float, points: int = GRID_PEAKS, nearest: int | None = None
) -> list[float]:
    """Return peaks evenly spaced on a logarithmic scale, one of which is the anchor.

    Args:
        anchor: the peak that the search found.
        low: lower end of the searched range; the anchor if that is lower.
        high: upper end of the searched range; the anchor if that is higher.
        points: number of peaks.
        nearest: number of peaks around the anchor to keep; None for all.
    """
    low, high = min(low, anchor), max(high, anchor)
    if points == 1 or low == high:
        return [anchor]
    ratio = (high / low) ** (1 / points)
    below = math.floor(math.log(anchor / low) / math.log(ratio) + 1e-9)
    above = math.floor(math.log(high / anchor) / math.log(ratio) + 1e-9)
    # The range can hold one point too many.
    while below + 1 + above > (points if nearest is None else nearest):
        below, above = (below - 1, above) if below > above else (below, above - 1)
    return [anchor * ratio**j if j else anchor for j in range(-below, above + 1)]


def plan_comparison(
    result: Result,
    entries: Mapping[str, Entry],
    *,
    momentum: float = 0.0,
    top: int,
    seeds: int,
    selection: int | None = None,
    against: Sequence[tuple[str, Schedule | None]] = (),
    exact: bool = False,
    points: int = GRID_PEAKS,
    nearest: int | None = None,
    reached: Collection[str] | None = None,
    default: bool = True,
) -> ComparisonPlan:
    """Plan the comparison of a study.

    Args:
        result: result of the study.
        entries: entries of its space and objective, for the range of the peak.
        momentum: momentum of schedules that define none.
        top: number of candidates, the best trials of the study.
        seeds: number of seeds of the report.
        selection: number of selection seeds; None for `seeds`.
        against: names of baselines with None, or names with schedules; empty for all of
            `BASELINES`, the current and the default schedule.
        exact: True if a schedule always has the same value.
        points: number of peaks of the grid.
        nearest: number of peaks around the best trial's peak to keep; None for all.
        reached: fields that reach the objective, as in `lrsearch.contract.Setup`. A schedule that
            differs in another field would be trained as if it did not.
        default: False to leave out the default schedule, to save runs.

    Raises:
        NothingFinished: the study has no finished trial.
        RequestError: a baseline is unknown or does not fit into the budget.
    """
    found = result.best.schedule
    searched = entries.get("peak")
    low, high = found.peak / 10, found.peak * 10
    if isinstance(searched, Range):
        low, high = searched.low, searched.high
    grid = peak_grid(found.peak, low, high, points, nearest)
    distinct = dict.fromkeys(t.schedule for t in result.ranked)
    names = {t.schedule: f"trial {t.index}" for t in reversed(result.ranked)}
    candidates = [(names[s], s) for s in list(distinct)[:top]]
    shapes = [
        (name, _usual_shape(name, found) if schedule is None else schedule.with_momentum(momentum))
        for name, schedule in against or _usual(result, default=default)
    ]
    log_level = logging.WARNING if nearest is None else logging.DEBUG  # once is enough
    shapes = _reaching(shapes, found, reached, given=bool(against), level=log_level)
    named = bool(against)
    fitting = [(n, s) for n, s in shapes if _fits(n, s, result, given=named, level=log_level)]
    if not fitting:
        raise RequestError(
            f"no baseline fits into {result.budget.steps} steps; create a study with more `steps=`"
        )
    return ComparisonPlan(
        candidates=tuple(_tuned_shape(name, s, grid) for name, s in candidates),
        baselines=tuple(
            TunedShape(name=name, schedules=(s,))
            if name in (CURRENT, DEFAULT)
            else _tuned_shape(name, s, grid, own=s.peak != found.peak)
            for name, s in fitting
        ),
        selection=1 if exact else selection or seeds,
        seeds=1 if exact else seeds,
        exact=exact,
    )


def pair_plan(result: Result, seeds: int) -> ComparisonPlan | None:
    """Plan the smallest comparison: the best trial and one alternative on fresh seeds.

    The alternative is the current schedule, else the default one. Both were run in the search, so
    nothing is chosen or tuned on selection seeds.

    Args:
        result: result of the study.
        seeds: number of seeds of the report.

    Returns:
        The plan, or None if the study has no alternative or nothing else has finished.
    """
    names = [name for name in (CURRENT, DEFAULT) if name in result.firsts]
    if not names:
        return None
    rival = result.firsts[names[0]].schedule
    others = [trial for trial in result.ranked if trial.schedule != rival]
    if not others:
        return None
    searched = TunedShape(name=f"trial {others[0].index}", schedules=(others[0].schedule,))
    return ComparisonPlan(
        candidates=(searched,),
        baselines=(TunedShape(name=names[0], schedules=(rival,)),),
        selection=0,
        seeds=seeds,
    )


def _usual_shape(name: str, found: Schedule) -> Schedule:
    """Return a baseline with the momentum of the searched schedule, so that only shapes differ."""
    momentum = found.momentum or 0.0
    return baseline(name, found.peak, momentum).with_momentum(momentum)


def _usual(result: Result, *, default: bool) -> list[tuple[str, Schedule | None]]:
    """Return the default opponents: all baselines, the current and the default schedule."""
    names = (CURRENT, DEFAULT) if default else (CURRENT,)
    own = [(n, t.schedule) for n, t in result.firsts.items() if n in names]
    tuned = [(CURRENT_TUNED, schedule) for name, schedule in own if name == CURRENT]
    return [*((name, None) for name in BASELINES), *tuned, *own]


def _tuned_shape(
    name: str, schedule: Schedule, grid: Sequence[float], own: bool = True
) -> TunedShape:
    """Return a shape on the grid; the shape's own peak replaces the nearest point."""
    peaks = list(grid)
    if own and schedule.peak not in peaks:
        nearest = int(np.argmin(np.abs(np.log(np.array(peaks) / schedule.peak))))
        peaks[nearest] = schedule.peak
    return TunedShape(name=name, schedules=tuple(schedule.replace(peak=p) for p in sorted(peaks)))


def _reaching(
    shapes: list[tuple[str, Schedule]],
    found: Schedule,
    reached: Collection[str] | None,
    *,
    given: bool,
    level: int,
) -> list[tuple[str, Schedule]]:
    """Return the shapes that differ from the searched schedule only in fields that are reached.

    Raises:
        RequestError: the user has named one of the others.
    """
    if reached is None:
        return shapes
    kept: list[tuple[str, Schedule]] = []
    lost: list[tuple[str, Schedule]] = []
    for name, shape in shapes:
        same = shape.replace(**{field: getattr(found, field) for field in reached})
        (kept if same == found else lost).append((name, shape))
    if lost and given:
        raise RequestError(
            f"baseline {lost[0][0]} has another shape, which the objective does not get; leave it "
            "out, or give the objective the whole schedule, such as {lr_csv}"
        )
    if lost:
        log.log(
            level,
            "not compared, because the objective gets no other shapes: %s",
            ", ".join(name for name, _ in lost),
        )
    return kept


def _fits(name: str, schedule: Schedule, result: Result, *, given: bool, level: int) -> bool:
    """Return True if a baseline fits into the budget; raise an error if a named one does not."""
    try:
        result.budget.plan(schedule)
    except RequestError as error:
        if given:
            raise RequestError(f"baseline {name}: {error}") from error
        log.log(level, "skipping baseline %s: %s", name, error)
        return False
    return True
