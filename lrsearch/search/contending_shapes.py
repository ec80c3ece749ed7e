"""Which schedules compete in a comparison."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from lrsearch.baselines import BASELINES, baseline
from lrsearch.contender import CURRENT, CURRENT_TUNED, DEFAULT
from lrsearch.errors import RequestError, log
from lrsearch.outcome import Trial, first_of_each
from lrsearch.ranges import Range
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import ComparisonPlan, Shape
from lrsearch.search.comparison_sizes import FULL, Size

#: Number of peaks at which every shape of an exact objective is run first.
GRID_PEAKS = 9
#: The baselines, those first that are usually better. A convention.
PREFERRED: tuple[str, ...] = ("linear", "cosine", "wsd", "onecycle", "step", "constant")
#: Largest distance of two schedules of the same shape: the root mean square of the difference of
#: the rates, divided by their peaks; and the steps at which they are compared.
SAME_SHAPE, POINTS = 0.02, 256
#: Trials of a shape from which its peak can be tuned without further runs.
ENOUGH_TRIALS = 3


def peak_grid(anchor: float, low: float, high: float, points: int = GRID_PEAKS) -> list[float]:
    """Return peaks evenly spaced on a logarithmic scale, one of which is the anchor.

    Args:
        anchor: the peak that the search found.
        low: lower end of the searched range; the anchor if that is lower.
        high: upper end of the searched range; the anchor if that is higher.
        points: number of peaks.
    """
    low, high = min(low, anchor), max(high, anchor)
    if points == 1 or low == high:
        return [anchor]
    ratio = (high / low) ** (1 / points)
    below = math.floor(math.log(anchor / low) / math.log(ratio) + 1e-9)
    above = math.floor(math.log(high / anchor) / math.log(ratio) + 1e-9)
    # The range can hold one point too many.
    while below + 1 + above > points:
        below, above = (below - 1, above) if below > above else (below, above - 1)
    return [anchor * ratio**j if j else anchor for j in range(-below, above + 1)]


def plan_comparison(
    result: Result,
    twins: Twins,
    *,
    size: Size = FULL,
    seeds: int,
    against: Sequence[tuple[str, Schedule | None]] = (),
    exact: bool = False,
    reached: Collection[str] | None = None,
    quiet: bool = False,
) -> ComparisonPlan:
    """Plan the comparison of a study.

    Args:
        result: result of the study.
        twins: its trials by shape.
        size: how much is compared.
        seeds: number of fresh seeds.
        against: names of baselines with None, or names with schedules; empty for the baselines,
            the current and the default schedule.
        exact: True if a schedule always has the same value.
        reached: fields that reach the objective, as in `lrsearch.contract.Setup`. A schedule that
            differs in another field would be trained as if it did not.
        quiet: True to log nothing about alternatives that are left out.

    Raises:
        NothingFinished: the study has no finished trial.
        RequestError: a baseline is unknown or does not fit into the budget.
    """
    found = result.best.schedule
    shapes = [
        (name, schedule.with_momentum(twins.momentum) if schedule else _usual_shape(name, found))
        for name, schedule in against or _usual(result, size)
    ]
    level, named = logging.DEBUG if quiet else logging.WARNING, bool(against)
    shapes = _reaching(shapes, found, reached, given=named, level=level)
    fitting = [(n, s) for n, s in shapes if _fits(n, s, result, given=named, level=level)]
    if not fitting:
        raise RequestError(
            f"no baseline fits into {result.budget.steps} steps; create a study with more `steps=`"
        )
    alternatives = [
        Shape(name=name, schedule=schedule, fixed=True)
        if name in (CURRENT, DEFAULT)
        else Shape(name=name, schedule=schedule, most=size.most)
        for name, schedule in fitting
    ]
    alike = {s.name: twins.alike(s.schedule) for s in alternatives if not s.fixed}
    taken = {trial.index for trials in alike.values() for trial in trials}
    ranked = first_of_each(result.ranked)
    own = [trial for trial in ranked if trial.index not in taken][: size.top]
    folded: tuple[str, ...] = ()
    if not own:  # the search found a baseline; it competes as the searched schedule
        own = ranked[:1]
        twin = next(n for n, trials in alike.items() if own[0].index in {t.index for t in trials})
        if len(alternatives) > 1:
            folded = (twin,)
            alternatives = [shape for shape in alternatives if shape.name != twin]
    low, high = found.peak / 10, found.peak * 10
    searched = result.entries.get("peak")
    if isinstance(searched, Range):
        low, high = searched.low, searched.high
    return ComparisonPlan(
        candidates=tuple(
            Shape(
                name=f"trial {trial.index}",
                schedule=trial.schedule,
                most=size.most,
                known=_measured(twins.alike(trial.schedule)),
            )
            for trial in own
        ),
        alternatives=tuple(
            shape
            if shape.fixed
            else dataclasses.replace(
                shape,
                schedule=_at(shape.schedule, own[0].schedule.peak, shape.name),
                known=_measured(alike[shape.name]),
            )
            for shape in alternatives
        ),
        selection=1 if exact else size.selection,
        seeds=1 if exact else seeds,
        others=min(size.others, seeds),
        reported=size.reported,
        tuned=size.tuned,
        around=size.around,
        exact=exact,
        grid=tuple(peak_grid(found.peak, low, high)) if exact else (),
        folded=folded,
    )


def pair_plan(result: Result, twins: Twins, seeds: int) -> ComparisonPlan | None:
    """Plan the smallest comparison: the best trial and one alternative on fresh seeds.

    The alternative is the current schedule, else a linear decay if the search has run it at enough
    peaks, else the default schedule. All were run in the search, so nothing is tuned on selection
    seeds.

    Args:
        result: result of the study.
        twins: its trials by shape.
        seeds: number of seeds of the report.

    Returns:
        The plan, or None if the study has no alternative or nothing else has finished.
    """
    linear = _usual_shape("linear", result.best.schedule)
    alike = twins.alike(linear)
    known = _measured(alike)
    if CURRENT not in result.firsts and len(known) >= ENOUGH_TRIALS:
        rival = Shape(name="linear", schedule=linear, known=known)
        taken = {trial.index for trial in alike}
        others = [trial for trial in result.ranked if trial.index not in taken]
    else:
        names = [name for name in (CURRENT, DEFAULT) if name in result.firsts]
        if not names:
            return None
        rival = Shape(name=names[0], schedule=result.firsts[names[0]].schedule, fixed=True)
        others = [trial for trial in result.ranked if trial.schedule != rival.schedule]
    if not others:
        return None
    best = others[0]
    return ComparisonPlan(
        candidates=(Shape(name=f"trial {best.index}", schedule=best.schedule, fixed=True),),
        alternatives=(rival,),
        seeds=seeds,
    )


class Twins:
    """The trials of a study by shape: schedules that differ in the peak, and otherwise hardly.

    Args:
        result: result of the study.
        momentum: momentum of schedules that define none.

    Attributes:
        momentum: momentum of schedules that define none.
    """

    def __init__(self, result: Result, momentum: float = 0.0) -> None:
        self.momentum = momentum
        steps = min(result.budget.steps, POINTS)
        self._budget = dataclasses.replace(result.budget, steps=steps)
        self._trials = result.trials
        curves = [self._curve(trial.schedule) for trial in result.trials]
        self._drawn = np.array([curve is not None for curve in curves], dtype=bool)
        empty = np.zeros((3, POINTS))
        self._curves = np.array([empty if curve is None else curve for curve in curves])

    def alike(self, schedule: Schedule) -> list[Trial]:
        """Return the trials that have the shape of a schedule, in the order of their index."""
        own = self._curve(schedule)
        if own is None:
            near = np.zeros(len(self._trials), dtype=bool)
        else:
            apart = np.sqrt(np.mean((self._curves - own) ** 2, axis=2))
            near = self._drawn & (apart <= SAME_SHAPE).all(axis=1)
        return [
            trial
            for trial, same, drawn in zip(self._trials, near, self._drawn, strict=True)
            if same
            # Without a plan, only the peaks may differ.
            or (
                (own is None or not drawn)
                and trial.schedule.replace(peak=schedule.peak) == schedule
            )
        ]

    def _curve(self, schedule: Schedule) -> np.ndarray | None:
        """Return rates, batches and momenta in units of their scale; None without a plan."""
        try:
            plan = self._budget.plan(schedule.with_momentum(self.momentum))
        except RequestError:  # it needs more steps
            return None
        # Batches differ by factors, so their logarithms are compared.
        return np.stack(
            [
                _resampled(row)
                for row in (plan.lr / schedule.peak, np.log(plan.batch), plan.momentum)
            ]
        )


def _usual_shape(name: str, found: Schedule) -> Schedule:
    """Return a baseline with the momentum of the searched schedule, so that only shapes differ."""
    momentum = found.momentum or 0.0
    return baseline(name, found.peak, momentum).with_momentum(momentum)


def _usual(result: Result, size: Size) -> list[tuple[str, Schedule | None]]:
    """Return the usual opponents: baselines, the current and, if many, the default schedule."""
    own = [(n, t.schedule) for n, t in result.firsts.items() if n in (CURRENT, DEFAULT)]
    today = [(CURRENT_TUNED, schedule) for name, schedule in own if name == CURRENT]
    common = PREFERRED
    if not size.default:
        own = [(name, schedule) for name, schedule in own if name == CURRENT]
        common = PREFERRED[: size.baselines - len(today)]
    return [*((name, None) for name in BASELINES if name in common), *today, *own]


def _measured(trials: Iterable[Trial]) -> tuple[tuple[float, float], ...]:
    """Return peak and value of finished trials, infinite for diverged ones."""
    return tuple(
        (trial.schedule.peak, math.inf if trial.value is None else trial.value)
        for trial in trials
        if trial.value is not None or trial.state == "diverged"
    )


def _at(schedule: Schedule, peak: float, name: str) -> Schedule:
    """Return a baseline at the searched peak; the user's own schedules begin at their own."""
    return schedule.replace(peak=peak) if name in BASELINES else schedule


def _resampled(row: np.ndarray) -> np.ndarray:
    """Return values at `POINTS` places: plans with growing batches have fewer steps."""
    places = np.linspace(0, len(row) - 1, POINTS)
    return np.asarray(np.interp(places, np.arange(len(row)), row))


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
