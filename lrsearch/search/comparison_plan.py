"""The protocol of an honest comparison, without anything that runs it.

Candidates are the best schedules of a search, baselines what one would have used anyway. The peak
of every one of them is tuned on the same grid with the same selection seeds; the candidate and
the best baseline are chosen there too. What is reported comes from other seeds. Choosing on the
seeds that are reported would give 8 % false wins (simulated).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrsearch.baselines import BASELINES, baseline
from lrsearch.comparison import Comparison
from lrsearch.contender import Contender
from lrsearch.errors import RequestError, log
from lrsearch.ranges import Entry, Range
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.stats import mean
from lrsearch.trace import Trace

#: Peaks of the grid; and how a search that may not cost more shrinks them.
GRID_PEAKS, SMALLER = 9, (7, 5, 3)
FEWEST_SEEDS, FEWEST_SELECTION = 5, 3
#: Every peak is tried on the first few selection seeds; the best few peaks of every rival on all.
#: A convention: it halves the bill, and seeds are paired, so that few tell near peaks from far.
FIRST_SEEDS, KEPT_PEAKS = 3, 3


@dataclass(frozen=True, kw_only=True)
class TunedShape:
    """A shape with every peak at which it is tried.

    Attributes:
        name: `trial 71`, or a baseline's.
        schedules: one a peak, by rising peak.
    """

    name: str
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is measured, and how the answer is drawn from it.

    Attributes:
        candidates, baselines: what competes.
        selection: seeds on which peaks, candidate and best baseline are chosen.
        seeds: fresh ones whose values are reported; 1 of each for exact objectives.
        exact: whether a schedule always has one value.
    """

    candidates: tuple[TunedShape, ...]
    baselines: tuple[TunedShape, ...]
    selection: int
    seeds: int
    exact: bool = False

    @property
    def shapes(self) -> tuple[TunedShape, ...]:
        """All that compete."""
        return (*self.candidates, *self.baselines)

    @property
    def schedules(self) -> list[Schedule]:
        """Every schedule that is tried in the selection, each once."""
        return list(dict.fromkeys(s for shape in self.shapes for s in shape.schedules))

    @property
    def look(self) -> int:
        """Selection seeds on which every peak is tried."""
        return min(FIRST_SEEDS, self.selection)

    @property
    def runs(self) -> int:
        """How many runs it takes; fewer where rivals share schedules."""
        kept = sum(min(KEPT_PEAKS, len(shape.schedules)) for shape in self.shapes)
        reported = 0 if self.exact else (1 + len(self.baselines)) * self.seeds
        selected = len(self.schedules) * self.look + kept * (self.selection - self.look)
        return selected + reported

    def describe(self) -> str:
        """The bill, in one line."""
        peaks = max(len(shape.schedules) for shape in self.shapes)
        seeds = "" if self.exact else f", {self.selection} + {self.seeds} fresh seeds"
        return (
            f"comparing: best {len(self.candidates)} and {len(self.baselines)} baselines, "
            f"{peaks} peaks each{seeds}: {self.runs} runs"
        )

    def kept(self, measured: Mapping[Schedule, Sequence[float]]) -> list[Schedule]:
        """The best few peaks of every rival, which are measured on all selection seeds.

        Args:
            measured: values by seed of every schedule, not finite where a seed diverged.
        """
        ranked = (
            sorted(shape.schedules, key=lambda s: rank_key(measured[s][: self.look]))[:KEPT_PEAKS]
            for shape in self.shapes
        )
        return list(dict.fromkeys(schedule for best in ranked for schedule in best))

    def choose(self, measured: Mapping[Schedule, Sequence[float]]) -> dict[str, Schedule]:
        """The best peak of every rival, by its name, among those measured on all seeds."""
        whole = {s for s, values in measured.items() if len(values) >= self.selection}
        return {
            shape.name: min(
                (s for s in shape.schedules if s in whole), key=lambda s: rank_key(measured[s])
            )
            for shape in self.shapes
        }

    def finalists(self, measured: Mapping[Schedule, Sequence[float]]) -> dict[str, Schedule]:
        """What is reported on fresh seeds: the best candidate first, then every baseline."""
        chosen = self.choose(measured)
        names = [c.name for c in self.candidates]
        first = min(names, key=lambda name: rank_key(measured[chosen[name]]))
        return {name: chosen[name] for name in (first, *(b.name for b in self.baselines))}

    def conclude(
        self,
        unit: str,
        measured: Mapping[Schedule, Sequence[float]],
        reported: Mapping[Schedule, Sequence[float]],
        losses: Mapping[Schedule, Sequence[Trace]] = {},
    ) -> Comparison:
        """The comparison, from the values of the selection and of the report.

        Args:
            unit: of the values.
            measured: values by selection seed of every schedule.
            reported: values by fresh seed of every finalist.
            losses: their training curves.
        """
        finalists = self.finalists(measured)
        shapes = {shape.name: shape for shape in self.shapes}

        def contender(name: str) -> Contender:
            schedule, tried = finalists[name], shapes[name].schedules
            return Contender(
                name=name,
                schedule=schedule,
                values=tuple(v if math.isfinite(v) else None for v in reported[schedule]),
                peaks=tuple(s.peak for s in tried),
                selection=tuple(mean_of_finite(measured[s][: self.look]) for s in tried),
                losses=tuple(losses.get(schedule, ())),
            )

        first, *names = finalists
        return Comparison(
            unit=unit,
            exact=self.exact,
            best=contender(first),
            baselines=tuple(contender(name) for name in names),
            best_baseline=min(names, key=lambda name: rank_key(measured[finalists[name]])),
            candidates=len(self.candidates),
            seeds=self.seeds,
            runs=self.runs,
        )


def rank_key(values: Sequence[float]) -> tuple[int, float]:
    """What rivals are ranked by: fewest diverged seeds, then the mean of the rest."""
    finite = [value for value in values if math.isfinite(value)]
    return len(values) - len(finite), mean(finite) if finite else math.inf


def mean_of_finite(values: Sequence[float]) -> float | None:
    """The mean over the seeds that finished; None where none did."""
    _, found = rank_key(values)
    return found if math.isfinite(found) else None


def peak_grid(
    anchor: float, low: float, high: float, points: int = GRID_PEAKS, nearest: int | None = None
) -> list[float]:
    """Peaks evenly spaced on a logarithmic scale over a range, the anchor among them.

    Args:
        anchor: the peak that the search found.
        low: the lower end of the range that was searched, lowered to an anchor below it.
        high: the upper end, likewise.
        points: how many.
        nearest: keep only so many of them, those around the anchor.
    """
    low, high = min(low, anchor), max(high, anchor)
    if points == 1 or low == high:
        return [anchor]
    ratio = (high / low) ** (1 / points)
    below = math.floor(math.log(anchor / low) / math.log(ratio) + 1e-9)
    above = math.floor(math.log(high / anchor) / math.log(ratio) + 1e-9)
    # There is room for one more than was asked for.
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
) -> ComparisonPlan:
    """What a study's comparison measures.

    Args:
        result: the study's.
        entries: of its space and its objective, for the range of the peak.
        momentum: the objective's, of schedules that name none.
        top: candidates, the best trials of the study.
        seeds: reported ones.
        selection: selection seeds; None is as many.
        against: baselines by name, or a schedule with its name; empty is all of `BASELINES`, and
            the schedules that were enqueued.
        exact: whether a schedule always has one value.
        points: peaks of the grid.
        nearest: keep only so many of them, those around the best trial's peak.

    Raises:
        NothingFinished: the study has no finished trial.
        RequestError: a baseline is unknown or has no plan within the budget.
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
        for name, schedule in against or _usual(result)
    ]
    fitting = [(n, s) for n, s in shapes if _fits(n, s, result, given=bool(against))]
    if not fitting:
        raise RequestError(
            f"no baseline has a plan of {result.budget.steps} updates; give more steps"
        )
    return ComparisonPlan(
        candidates=tuple(_tuned_shape(name, s, grid) for name, s in candidates),
        baselines=tuple(
            _tuned_shape(name, s, grid, own=s.peak != found.peak) for name, s in fitting
        ),
        selection=1 if exact else selection or seeds,
        seeds=1 if exact else seeds,
        exact=exact,
    )


def _usual_shape(name: str, found: Schedule) -> Schedule:
    """A baseline at the momentum of the searched schedule, which is no matter of its shape."""
    momentum = found.momentum or 0.0
    return baseline(name, found.peak, momentum).with_momentum(momentum)


def _usual(result: Result) -> list[tuple[str, Schedule | None]]:
    """What a search must beat: the field's baselines, and what its user came with."""
    own = [(n, t.schedule) for n, t in result.firsts.items() if n != "default"]
    return [*((name, None) for name in BASELINES), *own]


def shrink(protocols: Iterable[ComparisonPlan], limit: int) -> ComparisonPlan | None:
    """The first of some protocols that takes no more than so many runs."""
    return next((p for p in protocols if p.runs <= limit), None)


def _tuned_shape(
    name: str, schedule: Schedule, grid: Sequence[float], own: bool = True
) -> TunedShape:
    """A shape on the grid, whose nearest point gives way to the shape's own peak."""
    peaks = list(grid)
    if own and schedule.peak not in peaks:
        nearest = int(np.argmin(np.abs(np.log(np.array(peaks) / schedule.peak))))
        peaks[nearest] = schedule.peak
    return TunedShape(name=name, schedules=tuple(schedule.replace(peak=p) for p in sorted(peaks)))


def _fits(name: str, schedule: Schedule, result: Result, *, given: bool) -> bool:
    """Whether a baseline has a plan; one that was asked for must have one."""
    try:
        result.budget.plan(schedule)
    except RequestError as error:
        if given:
            raise RequestError(f"baseline {name}: {error}") from error
        log.warning("baseline %s is left out: %s", name, error)
        return False
    return True
