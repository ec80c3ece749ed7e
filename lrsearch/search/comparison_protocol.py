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

from lrsearch.comparison import Comparison
from lrsearch.contender import CURRENT, Contender
from lrsearch.errors import log
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import AROUND, ComparisonPlan, mean_of_finite, rank_key
from lrsearch.search.noisy_peaks import KNOWN, PeakFit, fit_peak, pooled_noise
from lrsearch.search.peak_tuning import PeakTuning, Request, Values
from lrsearch.seeding import REPORT, SELECT
from lrsearch.sequential import Looks, paired_test
from lrsearch.stats import VERDICTS
from lrsearch.trace import Trace

#: Fresh seeds of alternatives that are not tested any more, to show about where they are.
SHOWN = 5


class Protocol:
    """A comparison in progress.

    Args:
        plan: its plan.
        earlier: the latest comparison of the study, whose probability of error counts.

    Attributes:
        values: the values so far. Whoever runs the requests adds to it.
    """

    def __init__(self, plan: ComparisonPlan, earlier: Comparison | None = None) -> None:
        self.plan, self.values = plan, Values()
        self._earlier = earlier
        self._tuning = PeakTuning(plan, self.values)
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
            yield from self._tuning.tune_exactly()
            self._choose_exactly()
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
        plan, seeds = self.plan, self.plan.selection
        if len(plan.candidates) > 1 or plan.tuned:
            yield _select([shape.schedule for shape in plan.candidates], seeds)
            found = {s.name: self.values.selected(s.schedule, seeds) for s in plan.candidates}
            self._noise = pooled_noise(list(found.values()))
            self._searched = min(found, key=lambda name: rank_key(found[name]))

    def _tune(self) -> Iterator[Request]:
        """Tune the peaks of all shapes at the same time."""
        names = [shape.name for shape in self.plan.alternatives if shape.most]
        names += [self._searched] * self.plan.tuned
        while True:
            noise = self._tuning.noise() if self._noise is None else self._noise
            asked = self._tuning.ask(names, noise, KNOWN * noise * math.sqrt(2 / self._seeds))
            if not asked:
                break
            yield Request(SELECT, tuple(asked))
        fixed = {shape.name for shape in self.plan.alternatives if shape.fixed}
        for name in (self._searched, *(shape.name for shape in self.plan.alternatives)):
            self._chosen[name] = self._tuning.shapes[name].schedule
            if name not in fixed and (name != self._searched or self.plan.tuned):
                self._fits[name] = fit_peak(self._tuning.points(name), noise)
                self._chosen[name] = self._tuning.at(name, self._fits[name].peak)

    def _choose_alternative(self) -> Iterator[Request]:
        """Choose the best alternative, and the order in which they are tested."""
        plan, names = self.plan, [shape.name for shape in self.plan.alternatives]
        fixed = [shape.schedule for shape in plan.alternatives if shape.fixed]
        if len(names) > 1 and fixed:
            yield _select(fixed, plan.selection)
        ranked = sorted(names, key=self._selected_key)
        self._best = ranked[0]
        first = list(dict.fromkeys([*(n for n in names if n == CURRENT), self._best]))
        order = list(dict.fromkeys([*first, *ranked]))
        self._order = order[: max(plan.reported, len(first))]

    def _choose_exactly(self) -> None:
        for name in self._tuning.shapes:
            self._chosen[name] = self._tuning.at(name, self._tuning.lowest(name))
        self._order = [shape.name for shape in self.plan.alternatives]
        self._searched = min((s.name for s in self.plan.candidates), key=self._selected_key)
        self._best = min(self._order, key=self._selected_key)

    def _selected_key(self, name: str) -> tuple[int, float]:
        """Return the sort key of a schedule by its value on the selection seeds."""
        if name in self._fits:
            return rank_key([self._fits[name].value])
        return rank_key(self.values.selected(self._chosen[name], max(1, self.plan.selection)))

    # --- Report -------------------------------------------------------------------------------

    def _report(self) -> Iterator[Request]:
        """Test the alternatives one after the other, up to the first that is undecided.

        The best alternative gets all its seeds even if it is not tested any more: the
        recommendation depends on it.
        """
        self._looks = self._planned_looks()
        ours, testing = self._chosen[self._searched], True
        rest = []
        for name in self._order:
            theirs, looks = self._chosen[name], self._looks
            if name not in (CURRENT, self._best):
                looks = looks.limited(self.plan.others)
            if not testing and name != self._best:
                rest.append((theirs, min(SHOWN, looks.most)))
                continue
            for look in looks.plan():
                yield _fresh([(ours, look.seeds), (theirs, look.seeds)])
                pair = self.values.fresh(ours), self.values.fresh(theirs)
                if self._noise is None:  # from the first seeds that were repeated
                    self._noise = pooled_noise(pair)
                test = paired_test(*pair, looks, self._remainder(name))
                if test.complete:
                    break
            testing = testing and test.verdict in VERDICTS[:2]
        if rest:
            yield _fresh([(ours, max(seeds for _, seeds in rest)), *rest])

    def _remainder(self, name: str) -> float:
        """Return what a better peak may still gain, with the noise that is known by now."""
        if name not in self._fits:
            return 0.0
        return fit_peak(self._tuning.points(name), self._noise or 0.0).remainder

    def _planned_looks(self) -> Looks:
        """Return the looks, given what the earlier comparison of the study has spent.

        If it compared the same schedules, this one extends it; else this one is another one.
        """
        seeds, earlier = self.plan.seeds, self._earlier
        if earlier is None or earlier.exact:
            return self.plan.looks
        same = {each.schedule for each in (earlier.best, *earlier.baselines)}
        if not earlier.looks.seeds or same != set(self.reported):
            return Looks(seeds=seeds, spent=earlier.looks.used)
        known = earlier.looks
        extended = max(known.extended, int(math.log2(max(seeds, known.seeds) / known.seeds)))
        if seeds > known.most and known.seeds << extended != seeds:
            log.warning(
                "the study was compared on %d seeds, and an extension doubles them: %d seeds "
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
        yield _select(near, seeds)
        self._around = tuple(
            (s.peak, mean_of_finite(self.values.selected(s, seeds))) for s in near
        )

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
            unreported=tuple(name for name in unreported if name in self._fits),
            folded=self.plan.folded,
            around=self._around,
        )

    def _contender(self, name: str, losses: Mapping[Schedule, Sequence[Trace]]) -> Contender:
        schedule = self._chosen[name]
        tuned = name in self._fits or self.plan.exact
        points = self._tuning.points(name) if tuned else []
        peaks = sorted({peak for peak, _ in points} or {schedule.peak})
        exact = self.values.selected(schedule, 1) if self.plan.exact else ()
        values = exact or self.values.fresh(schedule)
        return Contender(
            name=name,
            schedule=schedule,
            values=tuple(v if math.isfinite(v) else None for v in values),
            peaks=tuple(peaks),
            selection=tuple(mean_of_finite([v for p, v in points if p == each]) for each in peaks),
            estimate=mean_of_finite([self._selected_key(name)[1]]),
            remainder=self._remainder(name),
            losses=tuple(losses.get(schedule, ())),
        )


def _select(schedules: Sequence[Schedule], seeds: int) -> Request:
    return Request(SELECT, tuple((s, r) for s in schedules for r in range(seeds)))


def _fresh(asked: Sequence[tuple[Schedule, int]]) -> Request:
    return Request(REPORT, tuple((s, r) for s, seeds in asked for r in range(seeds)))
