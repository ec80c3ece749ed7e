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
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.contending_shapes import pair_plan, plan_comparison
from lrsearch.seeding import REPORT, SELECT
from lrsearch.study.spec import StudySpec
from lrsearch.study.store import Store

#: The stored outcomes of a stage, by schedule and seed.
Held = Mapping[Schedule, Mapping[int, Outcome]]
#: Mean seconds per run below which the comparison has its full size. Above, a frugal comparison
#: has at most as many runs as the study has trials.
CHEAP = 2.0
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
        known: stored outcomes of comparison runs, by stage.
        earlier: its latest comparison, or None.

    Attributes:
        seconds: mean wall time of a finished run; 0 if there is none.
        cheap: True if runs are short, so that a comparison has its full size.
    """

    def __init__(
        self,
        result: Result,
        spec: StudySpec,
        setup: Setup,
        known: Mapping[str, Held],
        earlier: Comparison | None = None,
    ) -> None:
        self._result, self._spec, self._setup = result, spec, setup
        self._known, self._earlier = known, earlier
        times = [o.seconds for t in result.trials for o in t.outcomes if o.state == "finished"]
        self.seconds = math.fsum(times) / len(times) if times else 0.0
        self.cheap = setup.exact or self.seconds < CHEAP

    def plan(self, asked: ComparisonSpec) -> ComparisonPlan | None:
        """Return the plan of a comparison, or None if it needs too many runs.

        Raises:
            NothingFinished: the study has no finished trial.
            RequestError: a baseline is unknown or does not fit into the budget.
        """
        found = self._plan(asked)
        if found is None or found.exact or self._earlier is None or self._earlier.exact:
            return found
        spent = self._earlier.looks
        return dataclasses.replace(found, spent=1 + spent.spent + spent.extended)

    def offers(self) -> list[Offer]:
        """Return comparisons with more runs than the study's latest one, the smallest first."""
        done = 0 if self._earlier is None else self._earlier.runs
        found: list[Offer] = []
        for runs in (*OFFERED, None):
            if runs is not None and runs <= done:
                continue
            asked = ComparisonSpec(runs=runs)
            try:
                plan = self.plan(asked)
            except RequestError:  # no baseline fits into the budget
                continue
            if plan is not None and plan.runs > max([done, *(o.plan.runs for o in found)]):
                seconds = plan.runs * self.seconds
                found.append(Offer(asked=asked, plan=plan, seconds=seconds))
        return found

    def _plan(self, asked: ComparisonSpec) -> ComparisonPlan | None:
        setup, result = self._setup, self._result
        plan = functools.partial(
            plan_comparison,
            result,
            {**setup.entries, **self._spec.space.entries},
            momentum=self._spec.momentum,
            against=asked.opponents,
            exact=setup.exact,
            reached=setup.reached,
        )
        limited = asked.runs is not None or asked.limit is not None
        frugal = asked.frugal and not self.cheap
        if setup.exact or not (limited or frugal):
            return plan(size=dataclasses.replace(FULL, top=asked.top), seeds=asked.seeds)
        left = _left(result, asked, self._known.values()) if limited else result.counted
        for size in SIZES:
            low, high = size.seeds
            largest = plan(size=size, seeds=high, quiet=True)
            found = (largest.with_seeds(seeds) for seeds in range(high, low - 1, -1))
            fitting = next((each for each in found if each.runs <= left), None)
            if fitting is not None:
                return fitting
        low, high = PAIR_SEEDS
        pair = None if asked.opponents else pair_plan(result, high, self._spec.momentum)
        if pair is None:
            return None
        # The schedules of a pair are known before it, and with them the runs that are stored.
        done = sum(
            sum(replicate < high for replicate in self._known[REPORT].get(shape.schedule, ()))
            for shape in (*pair.candidates, *pair.alternatives)
        )
        pairs = (pair.with_seeds(seeds) for seeds in range(high, low - 1, -1))
        return next((each for each in pairs if each.runs - done <= left), None)


def _left(result: Result, asked: ComparisonSpec, held: Iterable[Held]) -> int:
    """Return the number of runs that a budget leaves after those that are done."""
    left = (asked.runs or asked.limit or 0) - sum(
        len(outcomes) for stage in held for outcomes in stage.values()
    )
    if asked.runs is None:
        counted = [trial for trial in result.trials if trial.state != "failed"]
        left -= sum(len(trial.outcomes) for trial in counted)
    return left


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
        known = {stage: store.measured(stage) for stage in (SELECT, REPORT)}
        earlier = store.comparison()
    choice = ComparisonChoice(result, spec, setup, known, earlier)
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
