"""`Comparison`: the best schedule of a search and other schedules on fresh seeds, a frozen record.

The candidate, every peak and the best alternative are chosen on selection seeds. The reported
values come from other seeds, so none of them was selected because it was low.

Which schedule to use must be decided even if nothing is shown: waiting for significance would
often give the worse one. So the lower mean on fresh seeds decides, and the verdict of the test is
stated beside it as the evidence.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrsearch.comparison_sentence import sentence_of
from lrsearch.contender import CURRENT, SEARCHED, Contender
from lrsearch.schedule import Schedule
from lrsearch.sequential import SINGLE, Looks, exact_test, sequence_of_tests
from lrsearch.stats import PairedTest, percent, seeds_needed

#: What is known about the recommended schedule: the searched one is better, or ahead without
#: proof; an alternative is recommended, and the searched one is behind without proof, or worse; or
#: nothing was compared.
EVIDENCE = ("better", "leading", "behind", "worse", "not compared")


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """The schedule to use.

    Attributes:
        name: `searched`, or the name of an alternative such as `cosine` or `current`.
        schedule: the schedule, with its tuned peak.
        value: its mean value on fresh seeds; of the best trial if nothing was compared.
        interval: 95 % interval of the value, or None.
        evidence: one of `EVIDENCE`.
        sentence: the answer as a sentence.
    """

    name: str
    schedule: Schedule
    value: float | None
    interval: tuple[float, float] | None = None
    evidence: str
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the object under `recommended` of `--json`."""
        return {
            "name": self.name,
            "schedule": self.schedule.to_dict(),
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "evidence": self.evidence,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The searched schedule and its alternatives on the same fresh seeds.

    Attributes:
        unit: unit of the values.
        exact: True if values have no noise, so that they are compared without a test.
        best: the searched schedule, chosen among the candidates.
        baselines: its alternatives: common schedules, the current and the default one.
        best_baseline: name of the alternative that was best on the selection seeds.
        candidates: number of schedules of the search that were considered.
        seeds: number of fresh seeds of the searched schedule.
        runs: number of training runs of the comparison.
        looks: the planned looks at the seeds, at which it is tested.
        others: planned number of seeds of alternatives other than the current schedule and the
            best one.
        unreported: names of alternatives whose peaks were tuned, but which were not run on fresh
            seeds because the budget is small.
        folded: names of alternatives that have the shape of the searched schedule.
        asked: what was asked for, as text, to recognize the same request.
        around: peaks around the recommended one, and their mean values on selection seeds; None
            if every run diverged.
        importance: share of the variance of the search's values by field (functional ANOVA);
            empty if too few trials finished.

    Raises:
        ValueError: the best baseline is not one of the baselines.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> found = lrsearch.compare(result, against=["cosine"])
        >>> found.versus["cosine"].verdict in ("better", "worse", "not distinguishable")
        True
    """

    unit: str
    exact: bool
    best: Contender
    baselines: tuple[Contender, ...]
    best_baseline: str
    candidates: int
    seeds: int
    runs: int
    looks: Looks = SINGLE
    others: int = 0
    unreported: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    asked: str = ""
    around: tuple[tuple[float, float | None], ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.best_baseline not in [baseline.name for baseline in self.baselines]:
            raise ValueError("the best baseline of a comparison is not one of its baselines")

    @property
    def contenders(self) -> dict[str, Contender]:
        """All schedules by name; the first is the searched one, named `SEARCHED`."""
        return {SEARCHED: self.best, **{each.name: each for each in self.baselines}}

    @property
    def rival(self) -> Contender:
        """The alternative that was best on the selection seeds."""
        return self.contenders[self.best_baseline]

    @functools.cached_property
    def versus(self) -> dict[str, PairedTest]:
        """Tests of the searched schedule against every alternative, in the order of the tests.

        First the current schedule, then the best alternative, then the others, best first on the
        selection seeds. Exact values are all compared.
        """
        names = [each.name for each in self.baselines]
        named = [n for n in (CURRENT, self.best_baseline) if n in names]
        rest = names  # in the order of the protocol
        if self.exact or not self.looks.seeds:  # of an earlier version
            rest = sorted(names, key=lambda name: _selected(self.contenders[name]))
        order = {name: self.contenders[name] for name in dict.fromkeys([*named, *rest])}
        if self.exact:
            return {n: exact_test(self.best.array, each.array) for n, each in order.items()}
        few = self.looks.limited(self.others)
        return sequence_of_tests(
            self.best.array,
            {name: each.array for name, each in order.items()},
            {name: self.looks if name in named else few for name in order},
            {name: each.remainder for name, each in order.items()},
        )

    @functools.cached_property
    def recommended(self) -> Recommended:
        """The schedule to use.

        The searched schedule is recommended if its mean difference from the best alternative is
        negative and it diverged no more often; if it diverged more often, only if it is shown to
        be better. If it is shown to be worse than another alternative, that one is recommended.
        """
        return _recommend(self)

    @property
    def noise(self) -> float | None:
        """Standard deviation of the searched schedule's value between seeds, or None."""
        finite = self.best.array[np.isfinite(self.best.array)]
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
        return spread if math.isfinite(spread) else None

    @property
    def seeds_to_settle(self) -> int | None:
        """Number of seeds that would decide the comparison with the best alternative.

        None if it is decided, if a seed diverged, if only a better peak of the alternative is in
        doubt, or if no reasonable number is enough. A guess, because it assumes that the true
        difference is the observed one. An extension doubles the seeds, so it is a doubling.
        """
        decided = self.versus[self.best_baseline].verdict in ("better", "worse")
        if self.exact or decided or self.best.diverged or self.rival.diverged:
            return None
        test = self.versus[self.best_baseline]
        if test.explained or test.seeds < 2:
            return None
        n = test.seeds
        if not self.looks.seeds:  # of an earlier version, which cannot be extended
            return seeds_needed(self.best.array[:n] - self.rival.array[:n])
        longer = self.looks.extend()
        level = longer.plan()[-1].level
        needed = seeds_needed(self.best.array[:n] - self.rival.array[:n], alpha=level)
        while needed is not None and longer.most < needed:
            longer = longer.extend()
        return None if needed is None else longer.most

    def to_dict(self) -> dict[str, Any]:
        """Return the object under `comparison` of `--json`."""
        return {
            "seeds": self.seeds,
            "best_baseline": self.best_baseline,
            "noise": self.noise,
            "contenders": {name: self._described(name) for name in self.contenders},
        }

    def _described(self, name: str) -> dict[str, Any]:
        each, found = self.contenders[name], self.versus.get(name)
        difference = None if found is None else found.difference
        return {
            "schedule": each.schedule.to_dict(),
            "peak": each.schedule.peak,
            "value": each.value,
            "interval": _listed(each.interval),
            "difference": difference,
            "difference_interval": None if found is None else _listed(found.interval),
            "percent": None if difference is None else percent(difference, each.value),
            "verdict": None if found is None else found.verdict,
            "seeds": len(each.values),
            "diverged": each.diverged,
            "peak_may_gain": each.remainder,
        }


def _selected(contender: Contender) -> tuple[bool, float]:
    """Return the sort key of a contender: its value on the selection seeds at its chosen peak."""
    known = dict(zip(contender.peaks, contender.selection, strict=True))
    value = contender.estimate
    if value is None:  # comparisons of earlier versions tuned peaks on a grid
        value = known.get(contender.schedule.peak)
    return value is None, math.inf if value is None else value


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _recommend(found: Comparison) -> Recommended:
    worse = (name for name, test in found.versus.items() if test.verdict == "worse")
    searched, rival = found.best, found.rival
    test = found.versus[rival.name]
    if test.difference is not None and test.difference < 0 and test.verdict != "worse":
        # Better than the best alternative of the selection, but shown worse than another one.
        rival = found.contenders[next(worse, rival.name)]
        test = found.versus[rival.name]
    lost, lost_by_rival = test.diverged
    if test.difference is None:  # no seed finished with both
        ours = lost < lost_by_rival
    else:
        ours = test.difference < 0 and lost <= lost_by_rival
    ours = ours or test.verdict == "better"
    if test.verdict == "better":
        evidence = "better"
    elif test.verdict == "worse" and not ours:
        evidence = "worse"
    else:
        evidence = "leading" if ours else "behind"
    chosen = searched if ours else rival
    return Recommended(
        name=SEARCHED if ours else rival.name,
        schedule=chosen.schedule,
        value=chosen.value,
        interval=chosen.interval,
        evidence=evidence,
        sentence=sentence_of(searched, rival, test, evidence, found.unit, found.seeds_to_settle),
    )
