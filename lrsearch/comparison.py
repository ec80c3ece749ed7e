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

from lrsearch.contender import Contender
from lrsearch.schedule import Schedule
from lrsearch.stats import PairedTest, paired_tests, seeds_needed

#: Name of the searched schedule among the contenders.
SEARCHED = "searched"
#: Names of the user's current schedule, at its own peak and at a tuned one, and of the default
#: schedule at its usual peak.
CURRENT, CURRENT_TUNED, DEFAULT = "current", "current, tuned", "default"


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
        seeds: number of fresh seeds of the reported values.
        runs: number of training runs of the comparison.
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
        selection seeds.
        """
        names = [each.name for each in self.baselines]
        named = [n for n in (CURRENT, self.best_baseline) if n in names]
        rest = sorted(names, key=lambda name: _selected(self.contenders[name]))
        order = dict.fromkeys([*named, *rest])
        return paired_tests(self.best.array, {n: self.contenders[n].array for n in order})

    @functools.cached_property
    def recommended(self) -> Recommended:
        """The schedule to use.

        The searched schedule is recommended if its mean difference from the best alternative is
        negative and it diverged no more often; if it diverged more often, only if it is shown to
        be better.
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

        None if it is decided, if a seed diverged, or if no reasonable number is enough. A guess,
        because it assumes that the true difference is the observed one.
        """
        decided = self.versus[self.best_baseline].verdict in ("better", "worse")
        if self.exact or decided or self.best.diverged or self.rival.diverged:
            return None
        needed = seeds_needed(self.best.array - self.rival.array)
        return None if needed is None or needed <= self.seeds else needed

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
            "diverged": each.diverged,
        }


def percent(difference: float, value: float | None) -> float | None:
    """Return a difference as a percentage of a value; None if the value is 0 or missing."""
    if not value:
        return None
    share = 100 * difference / abs(value)
    return share if math.isfinite(share) else None


def _selected(contender: Contender) -> tuple[bool, float]:
    """Return the sort key of a contender: its value on the selection seeds at its chosen peak."""
    known = dict(zip(contender.peaks, contender.selection, strict=True))
    value = known.get(contender.schedule.peak)
    return value is None, math.inf if value is None else value


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _recommend(found: Comparison) -> Recommended:
    searched, rival = found.best, found.rival
    test = found.versus[rival.name]
    if test.difference is None:  # no seed finished with both
        ours = searched.diverged < rival.diverged
    else:
        ours = test.difference < 0 and searched.diverged <= rival.diverged
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
        sentence=_sentence(found, evidence),
    )


def name_of(contender: Contender) -> str:
    """Return an alternative's name and peak, such as `tuned cosine with peak 0.2`."""
    peak = f"with peak {contender.schedule.peak:.3g}"
    if contender.name == CURRENT:
        return f"your current schedule {peak}"
    if contender.name.startswith(CURRENT):
        return f"your current schedule with its peak tuned to {contender.schedule.peak:.3g}"
    if contender.name == DEFAULT:
        return f"the default schedule {peak}"
    return f"{'tuned ' * (len(contender.peaks) > 1)}{contender.name} {peak}"


def _sentence(found: Comparison, evidence: str) -> str:
    searched, rival = found.best, found.rival
    test, named = found.versus[rival.name], name_of(rival)
    ours = f"the searched schedule with peak {searched.schedule.peak:.3g}"
    if searched.schedule == rival.schedule:
        return f"Use {named}. The best schedule of the search is the same."
    if searched.value is None and rival.value is None:
        return f"Every seed diverged, with the searched schedule and with {named}."
    if rival.value is None:
        return f"Use {ours}: every seed diverged with {named}."
    if searched.value is None:
        return f"Use {named}: every seed diverged with the searched schedule."
    if test.difference is None:
        use = ours if evidence in ("better", "leading") else named
        return f"Use {use}, which diverged less often; no seed finished with both schedules."
    size = show_percent(abs(test.difference), rival.value) or (
        f"{abs(test.difference):.3g} {found.unit}"
    )
    if evidence == "better":
        return f"Use {ours}: {size} lower than {named}{_interval(found)}."
    if evidence == "worse":
        return f"Use {named}. The searched schedule is {size} worse{_interval(found)}."
    if evidence == "leading":
        needed = found.seeds_to_settle
        more = "" if needed is None else f"; about {needed} seeds would settle it"
        return (
            f"Use {ours}: it is ahead of {named} by {size} on {found.seeds} seeds, but not shown "
            f"better{more}."
        )
    side = "worse" if test.difference > 0 else "better"
    if searched.diverged > rival.diverged:
        lost = f"diverged on {searched.diverged} of {found.seeds} seeds"
        return f"Use {named}. The searched schedule is {size} {side}, but {lost}."
    return f"Use {named}. The searched schedule is {size} {side}, within noise."


def _interval(found: Comparison) -> str:
    """Return the interval of the difference from the best alternative, without its sign."""
    interval = found.versus[found.best_baseline].interval
    if interval is None or interval[0] < 0 < interval[1]:
        return ""
    low, high = sorted(abs(end) for end in interval)
    shares = [show_percent(end, found.rival.value) for end in (low, high)]
    if all(shares):
        return f" (95 % interval: {shares[0].removesuffix(' %')} to {shares[1]})"
    return f" (95 % interval: {low:.2g} to {high:.2g} {found.unit})"


def show_percent(difference: float, value: float | None, sign: str = "") -> str:
    """Return a difference as a percentage of a value, as text with two digits.

    Empty if the value is 0 or missing, or if the percentage has four digits.
    """
    share = percent(difference, value)
    if share is None or abs(share) >= 1000:
        return ""
    return f"{share:{sign}.0f} %" if abs(share) >= 99.5 else f"{share:{sign}.2g} %"
