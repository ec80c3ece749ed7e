"""Which comparison a study gets: the one that is asked for, or the largest that fits."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lrsearch.comparison import Comparison
from lrsearch.contract import Setup
from lrsearch.errors import RequestError
from lrsearch.outcome import Outcome
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import ComparisonPlan
from lrsearch.search.comparison_sizes import FULL, PAIR_SEEDS, SIZES
from lrsearch.search.comparison_spec import SEEDS, ComparisonSpec
from lrsearch.search.contending_shapes import Twins, pair_plan, plan_comparison
from lrsearch.seeding import REPORT, SELECT
from lrsearch.study.keys import BEGUN
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store

#: The stored outcomes of a stage, by schedule and seed.
Held = Mapping[Schedule, Mapping[int, Outcome]]
#: Seconds that the full comparison may take, or the time of the search if that is longer. Above,
#: a frugal comparison has at most the number of runs of the study's trials. A convention.
CHEAP = 120.0
#: Numbers of runs of the comparisons that are offered: two schedules on three and on six seeds,
#: and tuned baselines; beside them the full comparison.
OFFERED = (6, 12, 60)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A comparison that can be run.

    Attributes:
        asked: its settings.
        plan: its plan.
        seconds: estimated time of its runs.
    """

    asked: ComparisonSpec
    plan: ComparisonPlan
    seconds: float

    @property
    def option(self) -> str:
        """The option of `lrsearch compare` that asks for it; nothing for the full comparison."""
        return "" if self.asked.runs is None else f" --runs {self.asked.runs}"


class ComparisonChoice:
    """The comparisons that a study can get.

    Args:
        result: result of the study.
        spec: its specification.
        setup: setup of its objective.
        done: number of comparison runs of the study before the one that is asked for.
        earlier: its latest comparison, or None.

    Attributes:
        seconds: mean wall time of a finished run; 0 if there is none.
        cheap: True if runs are short, so that a frugal comparison has its full size.
    """

    def __init__(
        self,
        result: Result,
        spec: StudySpec,
        setup: Setup,
        done: int = 0,
        earlier: Comparison | None = None,
    ) -> None:
        self._result, self._spec, self._setup = result, spec, setup
        self._done, self._earlier = done, earlier
        times = [o.seconds for t in result.trials for o in t.outcomes if o.state == "finished"]
        self.seconds = math.fsum(times) / len(times) if times else 0.0
        full = FULL.runs(SEEDS) * self.seconds
        self.cheap = setup.exact or full <= max(CHEAP, math.fsum(times))

    def plan(self, asked: ComparisonSpec) -> ComparisonPlan | None:
        """Return the plan of a comparison, or None if it needs too many runs.

        Raises:
            NothingFinished: the study has no finished trial.
            RequestError: a baseline is unknown or does not fit into the budget.
        """
        left = self._left(asked)
        found = self._whole(asked, left)
        if found is not None and not found.exact and self._earlier is not None:
            found = dataclasses.replace(found, spent=self._earlier.looks.used)
        if found is None and not asked.opponents:
            limited = asked.runs is not None or asked.limit is not None
            return self._pair(left, limited=limited)
        return found

    def offers(self) -> list[Offer]:
        """Return comparisons that show more than the study's latest one, the smallest first."""
        earlier = self._earlier
        shown = math.inf
        if earlier is not None and earlier.looks.seeds:
            shown = earlier.looks.detectable()
        found: list[Offer] = []
        for runs in (*OFFERED, None):
            asked = ComparisonSpec(runs=runs)
            try:
                plan = self.plan(asked)
            except RequestError:  # no baseline fits into the budget
                continue
            if plan is not None and plan.looks.detectable() < shown:
                shown = plan.looks.detectable()
                seconds = plan.runs * self.seconds
                found.append(Offer(asked=asked, plan=plan, seconds=seconds))
        return found

    @functools.cached_property
    def _twins(self) -> Twins:
        return Twins(self._result, self._spec.momentum)

    def _left(self, asked: ComparisonSpec) -> float:
        """Return the number of runs that a comparison may have."""
        limit = asked.limit if asked.runs is None else asked.runs
        if limit is None:
            frugal = asked.frugal and not self.cheap
            return self._result.counted if frugal else math.inf
        done = self._done
        if asked.runs is None:
            counted = [trial for trial in self._result.trials if trial.state != "failed"]
            done += sum(len(trial.outcomes) for trial in counted)
        return limit - done

    def _whole(self, asked: ComparisonSpec, left: float) -> ComparisonPlan | None:
        """Return the largest comparison with tuned alternatives that fits, or None."""
        setup = self._setup
        plan = functools.partial(
            plan_comparison,
            self._result,
            self._twins,
            against=asked.opponents,
            exact=setup.exact,
            reached=setup.reached,
        )
        if setup.exact or left == math.inf:
            return plan(size=dataclasses.replace(FULL, top=asked.top), seeds=asked.seeds)
        for size in SIZES:
            low, high = size.seeds
            largest = plan(size=size, seeds=high, quiet=True)
            found = (largest.with_seeds(seeds) for seeds in range(high, low - 1, -1))
            fitting = next((each for each in found if each.runs <= left), None)
            if fitting is not None:
                return fitting
        return None

    def _pair(self, left: float, *, limited: bool) -> ComparisonPlan | None:
        """Return the comparison of two schedules with the most seeds that fit, or None.

        Args:
            left: number of runs that it may have.
            limited: True if the runs of earlier comparisons are subtracted from it.
        """
        low, high = PAIR_SEEDS
        pair = pair_plan(self._result, self._twins, high)
        if pair is None:
            return None
        plans = [pair.with_seeds(seeds) for seeds in range(high, low - 1, -1)]
        earlier = self._earlier
        if earlier is None:
            return next((each for each in plans if each.runs <= left), None)
        looks = earlier.looks
        plans = [dataclasses.replace(each, spent=looks.used) for each in plans]
        known = 0
        if looks.seeds and _is_of(pair, earlier):  # its seeds can be doubled
            known = sum(len(each.values) for each in earlier.contenders.values()) * limited
            plans = [
                dataclasses.replace(
                    pair.with_seeds(looks.seeds << e), extended=e, spent=looks.spent
                )
                for e in range(8, -1, -1)
                if looks.seeds << e <= high
            ]
        return next((each for each in plans if each.runs - known <= left), None)


def _is_of(pair: ComparisonPlan, earlier: Comparison) -> bool:
    """Return True if an earlier comparison is of these two schedules, up to a tuned peak."""
    shapes, found = (*pair.candidates, *pair.alternatives), list(earlier.contenders.values())
    return len(shapes) == len(found) and all(
        each.schedule.replace(peak=shape.schedule.peak) == shape.schedule
        and (not shape.fixed or each.schedule == shape.schedule)
        for shape, each in zip(shapes, found, strict=True)
    )


def runs_before(store: Store, known: Iterable[Held], key: str = "") -> int:
    """Return the number of comparison runs of a study before a request.

    Args:
        store: the study.
        known: its stored outcomes of comparison runs, of each stage.
        key: the request (`ComparisonSpec.key`). The runs of the same request, which was
            interrupted, do not count.
    """
    begun = store.storage.get_study_user_attrs(store.key).get(BEGUN)
    if isinstance(begun, list) and len(begun) == 2 and begun[0] == key:
        return int(begun[1])
    return sum(len(found) for stage in known for found in stage.values())


def preview_comparison(
    spec: StudySpec, result: Result, setup: Setup, asked: ComparisonSpec
) -> Offer:
    """Return the comparison that a study would get.

    Args:
        spec: specification of the study.
        result: result of the study.
        setup: setup of its objective.
        asked: settings of the comparison.

    Raises:
        RequestError: no comparison fits into the number of runs.
    """
    with Store.read(spec.location) as store:
        known = [store.measured(stage) for stage in (SELECT, REPORT)]
        done, earlier = runs_before(store, known, asked.key(result.counted)), store.comparison()
    choice = ComparisonChoice(result, spec, setup, done, earlier)
    plan = choice.plan(asked)
    if plan is None:
        raise no_comparison_fits(asked.runs or 0)
    return Offer(asked=asked, plan=plan, seconds=plan.runs * choice.seconds)


def no_comparison_fits(runs: int) -> RequestError:
    """Return the error that a number of runs is too small for a comparison."""
    return RequestError(
        f"no comparison fits into {runs} runs, those of earlier comparisons included; give a "
        "larger `runs=`"
    )
