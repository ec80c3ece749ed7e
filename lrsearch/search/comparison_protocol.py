"""The protocol of a comparison: which runs it needs next, given the values so far.

1. The searched schedule is the best of the candidates on selection seeds.
2. The peak of every alternative is tuned on the same selection seeds, from the same start; that of
   the searched schedule too, unless the budget is small.
3. The best alternative is chosen by the values of the selection.
4. The searched schedule and the alternatives are run on fresh seeds, look after look, until the
   verdict is clear (`lrsearch.sequential`). Choosing on the reported seeds would give 8 % false
   wins (simulated).

What comes next depends only on values, so an interrupted comparison continues to the same answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lrsearch.comparison import Comparison
from lrsearch.contender import CURRENT, Contender
from lrsearch.errors import log
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import AROUND, ComparisonPlan, mean_of_finite, rank_key
from lrsearch.search.exact_peaks import next_peak
from lrsearch.search.noisy_peaks import (
    KNOWN,
    PeakFit,
    fit_peak,
    next_peaks,
    pooled_noise,
    residual_noise,
)
from lrsearch.seeding import REPORT, SELECT
from lrsearch.sequential import Looks, paired_test
from lrsearch.stats import VERDICTS
from lrsearch.trace import Trace

#: Fresh seeds of alternatives that are not tested any more, to show about where they are.
SHOWN = 5


@dataclass(frozen=True)
class Request:
    """Runs that the comparison needs before it can go on.

    Attributes:
        stage: `select` or `report`, which have different seeds.
        runs: schedules and the numbers of their seeds.
    """

    stage: str
    runs: tuple[tuple[Schedule, int], ...]


class Protocol:
    """A comparison in progress.

    Args:
        plan: its plan.
        earlier: the latest comparison of the study, whose probability of error counts.

    Attributes:
        values: values by stage, schedule and number of the seed; infinite for a diverged seed.
            Whoever runs the requests adds to it.
    """

    def __init__(self, plan: ComparisonPlan, earlier: Comparison | None = None) -> None:
        self.plan = plan
        self.values: dict[tuple[str, Schedule, int], float] = {}
        self._earlier = earlier
        self._shapes = {shape.name: shape for shape in (*plan.candidates, *plan.alternatives)}
        self._tuning: dict[str, list[tuple[Schedule, int]]] = {}
        self._fits: dict[str, PeakFit] = {}
        self._chosen: dict[str, Schedule] = {}
        self._searched = plan.candidates[0].name
        self._order: list[str] = []
        self._best = ""
        self._looks = plan.looks
        # An extension must tune the same peaks.
        known = 0 if earlier is None else earlier.looks.seeds
        self._seeds = min(known, plan.seeds) or plan.seeds
        self._noise: float | None = None
        self._around: tuple[tuple[float, float | None], ...] = ()

    def requests(self) -> Iterator[Request]:
        """Yield requests; all their values must be in `values` before the next is asked for."""
        if self.plan.exact:
            yield from self._tune_exactly()
        else:
            yield from self._choose_candidate()
            yield from self._tune()
            yield from self._choose_alternative()
            yield from self._report()
        if self.plan.around:
            yield from self._look_around()

    @property
    def reported(self) -> list[Schedule]:
        """The schedules whose values are reported."""
        return [self._chosen[name] for name in (self._searched, *self._order)]

    # --- Selection ----------------------------------------------------------------------------

    def _choose_candidate(self) -> Iterator[Request]:
        plan = self.plan
        if len(plan.candidates) > 1 or plan.tuned:
            yield self._select([shape.schedule for shape in plan.candidates], plan.selection)
            self._noise = pooled_noise(
                [self._selected(s.schedule, plan.selection) for s in plan.candidates]
            )
            best = min(
                plan.candidates,
                key=lambda shape: rank_key(self._selected(shape.schedule, plan.selection)),
            )
            self._searched = best.name

    def _tune(self) -> Iterator[Request]:
        """Tune the peaks of all shapes at the same time."""
        names = [shape.name for shape in self.plan.alternatives if shape.most]
        names += [self._searched] * (self.plan.tuned and self._shapes[self._searched].most > 0)
        self._tuning = {name: [] for name in names}
        while True:
            noise = self._noise_of_tuning()
            goal = KNOWN * noise * math.sqrt(2 / self._seeds)
            asked = []
            for name, done in self._tuning.items():
                shape = self._shapes[name]
                peaks = next_peaks(
                    self._run(name),
                    self._known(name),
                    shape.schedule.peak,
                    noise,
                    goal,
                    shape.most,
                )
                for peak in peaks:
                    done.append((shape.schedule.replace(peak=peak), len(done)))
                    asked.append(done[-1])
            if not asked:
                return
            yield Request(SELECT, tuple(asked))

    def _choose_alternative(self) -> Iterator[Request]:
        """Choose the best alternative, and the order in which they are tested."""
        plan, names = self.plan, [shape.name for shape in self.plan.alternatives]
        if len(names) > 1 and plan.selection:
            fixed = [shape.schedule for shape in plan.alternatives if shape.fixed]
            if fixed:
                yield self._select(fixed, plan.selection)
        for name in (self._searched, *names):
            found = self._fit(name)
            if found is not None:
                self._fits[name] = found
            shape = self._shapes[name]
            self._chosen[name] = shape.schedule if found is None else self._at(name, found.peak)
        ranked = sorted(names, key=self._estimate_key)
        self._best = ranked[0]
        first = [name for name in names if name == CURRENT]
        self._order = list(dict.fromkeys([*first, self._best, *ranked]))[: plan.reported]

    # --- Report -------------------------------------------------------------------------------

    def _report(self) -> Iterator[Request]:
        """Test the alternatives one after the other, up to the first that is undecided."""
        self._looks = self._planned_looks()
        ours, testing = self._chosen[self._searched], True
        rest = []
        for name in self._order:
            theirs, looks = self._chosen[name], self._looks_of(name)
            if not testing:
                rest.append((theirs, min(SHOWN, looks.most)))
                continue
            for look in looks.plan():
                yield self._fresh([(ours, look.seeds), (theirs, look.seeds)])
                if self._noise is None:  # from the first seeds that were repeated
                    self._noise = pooled_noise([self._fresh_values(s) for s in (ours, theirs)])
                test = paired_test(
                    self._fresh_values(ours),
                    self._fresh_values(theirs),
                    looks,
                    self._remainder(name),
                )
                if test.complete:
                    break
            testing = test.verdict in VERDICTS[:2]
        if rest:
            yield self._fresh([(ours, max(n for _, n in rest)), *rest])

    def _planned_looks(self) -> Looks:
        """Return the looks, given what the earlier comparison of the study has spent.

        If it compared the same schedules, this one extends it; else this one is another one.
        """
        seeds, earlier = self.plan.seeds, self._earlier
        if earlier is None or earlier.exact:
            return self.plan.looks
        same = {each.schedule for each in (earlier.best, *earlier.baselines)}
        if not earlier.looks.seeds or same != set(self.reported):
            spent = 1 + earlier.looks.spent + earlier.looks.extended
            return Looks(seeds=seeds, spent=spent)
        known = earlier.looks
        extended = max(known.extended, int(math.log2(max(seeds, known.seeds) / known.seeds)))
        if seeds > known.most and known.seeds << extended != seeds:
            log.warning(
                "the study was compared on %d seeds; an extension has twice as many: %d seeds "
                "instead of %d",
                known.most,
                known.seeds << extended,
                seeds,
            )
        return Looks(seeds=known.seeds, extended=extended, spent=known.spent)

    def _look_around(self) -> Iterator[Request]:
        """Run the recommended schedule at some peaks around its own."""
        chosen = self.conclude("").recommended.schedule
        near = [chosen.replace(peak=chosen.peak * factor) for factor in AROUND]
        seeds = 1 if self.plan.exact else self.plan.selection
        yield self._select(near, seeds)
        self._around = tuple((s.peak, mean_of_finite(self._selected(s, seeds))) for s in near)

    # --- Exact objectives ---------------------------------------------------------------------

    def _tune_exactly(self) -> Iterator[Request]:
        plan = self.plan
        tuned = [shape for shape in self._shapes.values() if not shape.fixed]
        peaks = {shape.name: sorted({*plan.grid, shape.schedule.peak}) for shape in tuned}
        peaks |= {s.name: [s.schedule.peak] for s in self._shapes.values() if s.fixed}
        asked = [(self._at(name, peak), 0) for name, found in peaks.items() for peak in found]
        self._tuning = {name: [(self._at(name, p), 0) for p in peaks[name]] for name in peaks}
        while asked:
            yield Request(SELECT, tuple(asked))
            asked = []
            for shape in tuned:
                peak = next_peak(dict(self._run(shape.name)))
                if peak is not None:
                    asked.append((self._at(shape.name, peak), 0))
                    self._tuning[shape.name].append(asked[-1])
        best = {name: min(self._run(name), key=lambda run: (run[1], run[0])) for name in peaks}
        self._chosen = {name: self._at(name, peak) for name, (peak, _) in best.items()}
        self._searched = min((s.name for s in plan.candidates), key=lambda name: best[name][1])
        self._order = [shape.name for shape in plan.alternatives]
        self._best = min(self._order, key=lambda name: best[name][1])

    # --- Values -------------------------------------------------------------------------------

    def _at(self, name: str, peak: float) -> Schedule:
        return self._shapes[name].schedule.replace(peak=peak)

    def _select(self, schedules: Sequence[Schedule], seeds: int) -> Request:
        return Request(SELECT, tuple((s, r) for s in schedules for r in range(seeds)))

    def _fresh(self, asked: Sequence[tuple[Schedule, int]]) -> Request:
        return Request(REPORT, tuple((s, r) for s, seeds in asked for r in range(seeds)))

    def _selected(self, schedule: Schedule, seeds: int) -> list[float]:
        return [self.values[SELECT, schedule, r] for r in range(seeds)]

    def _fresh_values(self, schedule: Schedule) -> list[float]:
        values: list[float] = []
        while (value := self.values.get((REPORT, schedule, len(values)))) is not None:
            values.append(value)
        return values

    def _run(self, name: str) -> list[tuple[float, float]]:
        """Return the runs of a shape in its tuning: peaks and values."""
        done = self._tuning.get(name, ())
        return [(s.peak, self.values[SELECT, s, replicate]) for s, replicate in done]

    def _known(self, name: str) -> list[tuple[float, float]]:
        """Return what is known of a shape beside its tuning: trials, and repeated seeds."""
        shape = self._shapes[name]
        done = set(self._tuning.get(name, ()))
        repeats = [
            (shape.schedule.peak, self.values[SELECT, shape.schedule, r])
            for r in range(self.plan.selection)
            if name == self._searched
            and (shape.schedule, r) not in done
            and (SELECT, shape.schedule, r) in self.values
        ]
        return [*shape.known, *repeats]

    def _noise_of_tuning(self) -> float:
        if self._noise is not None:
            return self._noise
        tuned = [self._points(s.name) for s in self.plan.alternatives if not s.fixed]
        return residual_noise(tuned) or 0.0

    # --- Conclusions --------------------------------------------------------------------------

    def _points(self, name: str) -> list[tuple[float, float]]:
        return [*self._run(name), *self._known(name)]

    def _fit(self, name: str) -> PeakFit | None:
        """Return the fit of a shape's peak; None if it competes at its own."""
        if self._shapes[name].fixed or (name == self._searched and not self.plan.tuned):
            return None
        return fit_peak(self._points(name), self._noise_of_tuning())

    def _remainder(self, name: str) -> float:
        """Return what a better peak may still gain, with the noise that is known by now."""
        if name not in self._fits:
            return 0.0
        return fit_peak(self._points(name), self._noise or 0.0).remainder

    def _estimate_key(self, name: str) -> tuple[int, float]:
        """Return the sort key of a schedule by its value on the selection seeds."""
        if self.plan.exact:
            return rank_key([self.values[SELECT, self._chosen[name], 0]])
        if name in self._fits:
            return rank_key([self._fits[name].value])
        schedule, seeds = self._shapes[name].schedule, range(self.plan.selection)
        known = [self.values.get((SELECT, schedule, r)) for r in seeds]
        return rank_key([value for value in known if value is not None])

    def _looks_of(self, name: str) -> Looks:
        leading = name in (CURRENT, self._best)
        return self._looks if leading else self._looks.limited(self.plan.others)

    def conclude(
        self, unit: str, losses: Mapping[Schedule, Sequence[Trace]] | None = None
    ) -> Comparison:
        """Return the comparison, after all requests.

        Args:
            unit: unit of the values.
            losses: training curves of the reported schedules.
        """
        contender = functools.partial(self._contender, losses=losses or {})
        best = contender(self._searched)
        unreported = [s.name for s in self.plan.alternatives if s.name not in self._order]
        return Comparison(
            unit=unit,
            exact=self.plan.exact,
            best=best,
            baselines=tuple(map(contender, self._order)),
            best_baseline=self._best,
            candidates=len(self.plan.candidates),
            seeds=len(best.values),
            runs=len(self.values),
            looks=self._looks,
            others=min(self.plan.others, self._looks.seeds),
            unreported=tuple(n for n in unreported if n in self._tuning),
            folded=self.plan.folded,
            around=self._around,
        )

    def _contender(self, name: str, losses: Mapping[Schedule, Sequence[Trace]]) -> Contender:
        schedule = self._chosen[name]
        points = self._points(name) if name in self._tuning or name in self._fits else []
        peaks = sorted({peak for peak, _ in points} or {schedule.peak})
        if self.plan.exact:
            values = [self.values[SELECT, schedule, 0]]
        else:
            values = self._fresh_values(schedule)
        return Contender(
            name=name,
            schedule=schedule,
            values=tuple(v if math.isfinite(v) else None for v in values),
            peaks=tuple(peaks),
            selection=tuple(mean_of_finite([v for p, v in points if p == each]) for each in peaks),
            estimate=mean_of_finite([self._estimate_key(name)[1]]),
            remainder=self._remainder(name),
            losses=tuple(losses.get(schedule, ())),
        )
