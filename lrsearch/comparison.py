"""`Comparison`: how the best schedule of a search compares on fresh seeds, as a frozen record.

What was chosen (the candidate, every peak, the best baseline) was chosen on selection seeds; what
is reported here comes from others, so that nothing in it was selected for being lucky.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrsearch.baselines import BASELINES
from lrsearch.contender import Contender
from lrsearch.stats import (
    ALPHA,
    PairedTest,
    bca_interval,
    paired_tests,
    seeds_needed,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The searched schedule and the baselines on the same fresh seeds.

    Attributes:
        unit: of the values.
        exact: whether they carry no noise, so that they are compared as they are.
        best: the searched schedule, chosen among the candidates.
        baselines: what it is held against.
        best_baseline: the name of the one that was best on the selection seeds.
        candidates: how many schedules of the search were considered.
        seeds: fresh seeds of the reported values.
        runs: how many runs it took.
        importance: share of the variance of the search's values by field, by functional ANOVA;
            empty where too few trials finished.

    Raises:
        ValueError: the best baseline is none of the baselines.

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
            raise ValueError("a comparison's best baseline is none of its baselines")

    @functools.cached_property
    def versus(self) -> dict[str, PairedTest]:
        """The searched schedule against every baseline, by name."""
        return paired_tests(self.best.array, {b.name: b.array for b in self.baselines})

    def baseline(self, name: str) -> Contender:
        """The baseline of a name."""
        return next(b for b in self.baselines if b.name == name)

    @property
    def noise(self) -> float | None:
        """Standard deviation of the searched schedule's value between seeds, where known."""
        finite = self.best.array[np.isfinite(self.best.array)]
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
        return spread if math.isfinite(spread) else None

    @property
    def seeds_to_settle(self) -> int | None:
        """How many seeds in all would settle the comparison with the best baseline.

        None where it is settled, where a seed diverged, or where no sensible number would do. A
        guess: it takes the difference for what it seems.
        """
        rival = self.baseline(self.best_baseline)
        undecided = self.versus[rival.name].verdict == "not distinguishable"
        if self.exact or not undecided or self.best.diverged or rival.diverged:
            return None
        needed = seeds_needed(self.best.array - rival.array, comparisons=len(self.baselines))
        return None if needed is None or needed <= self.seeds else needed

    @property
    def sentence(self) -> str:
        """The answer in plain words."""
        rival = self.baseline(self.best_baseline)
        found = self.versus[rival.name]
        named = f"a tuned {rival.name}" if rival.name in BASELINES else f"{rival.name}, tuned"
        if self.best.schedule == rival.schedule:
            return f"The searched schedule is {named}: they are the same."
        if found.difference is None:
            return self._who_finished(rival, named)
        size = self._size(found)
        if found.verdict == "better":
            return (
                f"The searched schedule lowers the value by {size} against the best baseline, "
                f"{named}."
            )
        if found.verdict == "worse":
            return f"The searched schedule is worse than {named} by {size}; use that."
        if len({c.verdict for c in self.versus.values()}) > 1:
            return (
                f"The searched schedule is not distinguishable from the best baseline, {named} "
                f"(difference {size}); use that, or more seeds."
            )
        return (
            f"No schedule found is distinguishable from {named} (difference {size}); use that, or "
            "more seeds."
        )

    def _who_finished(self, rival: Contender, named: str) -> str:
        """The answer where no seed finished under both."""
        if self.best.value is None and rival.value is None:
            return f"Every seed diverged, under the searched schedule and under {named}."
        if rival.value is None:
            return f"Under the best baseline, {named}, every seed diverged."
        if self.best.value is None:
            return f"Under the searched schedule every seed diverged; use {named}."
        return f"No seed finished under both the searched schedule and {named}."

    @property
    def remarks(self) -> list[str]:
        """What a reader should know beside the sentence, one line each."""
        lines = []
        for name, found in self.versus.items():
            interval = found.interval
            apart = interval is not None and (interval[0] > 0 or interval[1] < 0)
            if interval is not None and apart != (found.verdict != "not distinguishable"):
                says = "excludes" if apart else "includes"
                lines.append(
                    f"{name}: its own 95 % interval {says} 0; the verdict, over all "
                    f"{len(self.versus)} comparisons together, is {found.verdict}."
                )
        for contender in (self.best, *self.baselines):
            if contender.value is None:
                lines.append(f"{contender.name}: every seed diverged.")
            elif contender.diverged:
                lines.append(
                    f"{contender.name}: {contender.diverged} of {self.seeds} seeds diverged; its "
                    "mean is of the others, the verdict counts them as the worst."
                )
            if contender.at_edge:
                lines.append(
                    f"{contender.name}: its best peak is at an end of the grid; it may do better "
                    "outside."
                )
        if len(self.best.peaks) < 2:
            lines.append("No peak was tuned, which favours the searched schedule.")
        fewest = next(n for n in range(5, 100) if 2 ** (1 - n) * len(self.versus) < ALPHA)
        if self.seeds < fewest and any(c.test == "signed ranks" for c in self.versus.values()):
            lines.append(
                f"Where a seed diverged, {self.seeds} seeds cannot decide over "
                f"{len(self.versus)} baselines; {fewest} can."
            )
        needed = self.seeds_to_settle
        if needed is not None:
            lines.append(f"About {needed} seeds in all would settle it, if it is what it seems.")
        return lines

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table that a person reads: a head, the searched schedule, then every baseline.

        The best baseline, chosen on the selection seeds, is marked with a star.
        """
        head = ("schedule", self.unit, "95 %", "searched minus it", "95 %", "verdict", "diverged")
        lost = f"{self.best.diverged}/{self.seeds}"
        searched = (f"searched ({self.best.name})", *self._worth(self.best), "", "", "", lost)
        rows: list[tuple[str, ...]] = [head, searched]
        for name, found in self.versus.items():
            rival = self.baseline(name)
            star = " *" if name == self.best_baseline else ""
            difference = "" if found.difference is None else f"{found.difference:+.4g}"
            lost = f"{rival.diverged}/{self.seeds}"
            worth, interval = self._worth(rival), _show_interval(found.interval, "+.3g")
            rows.append((name + star, *worth, difference, interval, found.verdict, lost))
        return rows

    @property
    def secondary_rows(self) -> list[tuple[str, ...]]:
        """Medians and bootstrap intervals, beside the table; they decide nothing."""
        head = ("schedule", "median", "BCa 95 %", "searched minus it, median", "BCa 95 %")
        rows: list[tuple[str, ...]] = [head]
        for contender in (self.best, *self.baselines):
            median = "diverged" if contender.median is None else f"{contender.median:.5g}"
            whole = not contender.diverged and not self.best.diverged
            row = [contender.name, median, _show_interval(contender.bca, ".4g"), "", ""]
            if whole and contender is not self.best:
                differences = self.best.array - contender.array
                row[3] = f"{float(np.median(differences)):+.4g}"
                row[4] = _show_interval(bca_interval(differences), "+.3g")
            rows.append(tuple(row))
        return rows

    def _worth(self, contender: Contender) -> tuple[str, str]:
        value = contender.value
        shown = "diverged" if value is None else f"{value:.5g}"
        return shown, _show_interval(contender.interval, ".4g")

    def to_dict(self) -> dict[str, Any]:
        """The object under `comparison` of `--json`."""
        found = self.versus
        versus = {
            rival.name: {
                "value": rival.value,
                "difference": found[rival.name].difference,
                "interval": _listed(found[rival.name].interval),
                "verdict": found[rival.name].verdict,
                "median": rival.median,
                "diverged": rival.diverged,
                "peak": rival.schedule.peak,
            }
            for rival in self.baselines
        }
        return {
            "value": self.best.value,
            "interval": _listed(self.best.interval),
            "seeds": self.seeds,
            "schedule": self.best.schedule.to_dict(),
            "median": self.best.median,
            "bca": _listed(self.best.bca),
            "noise": self.noise,
            "diverged": self.best.diverged,
            "best_baseline": self.best_baseline,
            "sentence": self.sentence,
            "versus": versus,
        }

    def _size(self, found: PairedTest) -> str:
        """A difference as people write it: 0.031 ± 0.006 nats."""
        size = abs(found.difference or 0.0)
        if found.interval is None:
            return f"{size:.3g} {self.unit}"
        half = (found.interval[1] - found.interval[0]) / 2
        if not 1e-9 < half < 1e9:
            return f"{size:.3g} ± {half:.2g} {self.unit}"
        digits = max(0, 1 - math.floor(math.log10(half)))
        return f"{size:.{digits}f} ± {half:.{digits}f} {self.unit}"


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _show_interval(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"
