"""`Comparison`: the best schedule of a search and baselines on fresh seeds, as a frozen record.

The candidate, every peak and the best baseline are chosen on selection seeds. The reported values
come from other seeds, so none of them was selected because it was low.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
        unit: unit of the values.
        exact: True if values have no noise, so that they are compared without a test.
        best: the searched schedule, chosen among the candidates.
        baselines: the schedules that it is compared with.
        best_baseline: name of the baseline that was best on the selection seeds.
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

    @functools.cached_property
    def versus(self) -> dict[str, PairedTest]:
        """Tests of the searched schedule against every baseline, by name."""
        return paired_tests(self.best.array, {b.name: b.array for b in self.baselines})

    def baseline(self, name: str) -> Contender:
        """Return the baseline of a name."""
        return next(b for b in self.baselines if b.name == name)

    @property
    def noise(self) -> float | None:
        """Standard deviation of the searched schedule's value between seeds, or None."""
        finite = self.best.array[np.isfinite(self.best.array)]
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
        return spread if math.isfinite(spread) else None

    @property
    def seeds_to_settle(self) -> int | None:
        """Number of seeds that would decide the comparison with the best baseline.

        None if it is decided, if a seed diverged, or if no reasonable number is enough. A guess,
        because it assumes that the true difference is the observed one.
        """
        rival = self.baseline(self.best_baseline)
        undecided = self.versus[rival.name].verdict == "not distinguishable"
        if self.exact or not undecided or self.best.diverged or rival.diverged:
            return None
        needed = seeds_needed(self.best.array - rival.array, comparisons=len(self.baselines))
        return None if needed is None or needed <= self.seeds else needed

    @property
    def sentence(self) -> str:
        """The answer as a sentence."""
        rival = self.baseline(self.best_baseline)
        found = self.versus[rival.name]
        named = f"{rival.name} with peak {rival.schedule.peak:.3g}"
        if self.best.schedule == rival.schedule:
            return f"Use {named}. The best schedule of the search is the same."
        if found.difference is None:
            return self._without_difference(rival, named)
        size = self._size(found)
        if found.verdict == "better":
            return (
                f"Use the searched schedule. It is better than the best baseline, {named}, by "
                f"{size}."
            )
        if found.verdict == "worse":
            return f"Use {named}. The searched schedule is worse by {size}."
        side = "better" if found.difference < 0 else "worse"
        share = _percent(abs(found.difference), rival) or size
        return (
            f"Use {named}. The search found nothing measurably better: the searched schedule is "
            f"{share} {side}, {'but ' * (side == 'better')}within noise."
        )

    def _without_difference(self, rival: Contender, named: str) -> str:
        """Return the answer if no seed finished with both schedules."""
        if self.best.value is None and rival.value is None:
            return f"Every seed diverged, with the searched schedule and with {named}."
        if rival.value is None:
            return (
                f"Use the searched schedule: every seed diverged with the best baseline, {named}."
            )
        if self.best.value is None:
            return f"Use {named}: every seed diverged with the searched schedule."
        return f"No comparison: no seed finished with both the searched schedule and {named}."

    @property
    def remarks(self) -> list[str]:
        """Further sentences about the comparison."""
        lines = []
        for name, found in self.versus.items():
            interval = found.interval
            apart = interval is not None and (interval[0] > 0 or interval[1] < 0)
            if interval is not None and apart != (found.verdict != "not distinguishable"):
                says = "excludes" if apart else "includes"
                lines.append(
                    f"{name}: the 95 % interval of the difference {says} 0, but the verdict, "
                    f"corrected for {len(self.versus)} baselines, is {found.verdict}."
                )
        for contender in (self.best, *self.baselines):
            if contender.value is None:
                lines.append(f"{contender.name}: every seed diverged.")
            elif contender.diverged:
                lines.append(
                    f"{contender.name}: {contender.diverged} of {self.seeds} seeds diverged. The "
                    "mean excludes them; the verdict ranks them last."
                )
            if contender.at_edge:
                lines.append(
                    f"{contender.name}: the best peak is at an end of the grid; a peak "
                    "outside the grid may be better."
                )
        if len(self.best.peaks) < 2:
            lines.append("The peaks were not tuned. This favours the searched schedule.")
        fewest = next(n for n in range(5, 100) if 2 ** (1 - n) * len(self.versus) < ALPHA)
        if self.seeds < fewest and any(c.test == "signed ranks" for c in self.versus.values()):
            lines.append(
                f"With a diverged seed, {self.seeds} seeds are too few to decide over "
                f"{len(self.versus)} baselines; use at least {fewest}."
            )
        needed = self.seeds_to_settle
        if needed is not None:
            lines.append(
                f"If the true difference is as large as it looks, about {needed} seeds would be "
                "needed to show it."
            )
        return lines

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table of the comparison: header, searched schedule, then every baseline.

        A difference is searched - baseline. The best baseline on the selection seeds is marked
        with a star.
        """
        head = ("schedule", self.unit, "95 %", "difference", "95 %", "verdict", "diverged")
        lost = f"{self.best.diverged}/{self.seeds}"
        searched = (f"searched ({self.best.name})", *self._worth(self.best), "", "", "", lost)
        rows: list[tuple[str, ...]] = [head, searched]
        for name, found in self.versus.items():
            rival = self.baseline(name)
            star = " *" if name == self.best_baseline else ""
            difference = self._signed(found.difference, rival)
            lost = f"{rival.diverged}/{self.seeds}"
            worth, interval = self._worth(rival), _show_interval(found.interval, "+.3g")
            rows.append((name + star, *worth, difference, interval, found.verdict, lost))
        return rows

    @property
    def secondary_rows(self) -> list[tuple[str, ...]]:
        """Table of medians and bootstrap intervals, for information; no verdict uses them."""
        head = ("schedule", "median", "BCa 95 %", "median difference", "BCa 95 %")
        rows: list[tuple[str, ...]] = [head]
        for contender in (self.best, *self.baselines):
            median = "diverged" if contender.median is None else f"{contender.median:.4g}"
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
        shown = "diverged" if value is None else f"{value:.4g}"
        return shown, _show_interval(contender.interval, ".4g")

    def to_dict(self) -> dict[str, Any]:
        """Return the object under `comparison` of `--json`."""
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
        """Return the size of a difference with its uncertainty, as 0.031 ± 0.006 nats (4.2 %)."""
        size = abs(found.difference or 0.0)
        share = _in_brackets(_percent(size, self.baseline(self.best_baseline)))
        if found.interval is None:
            return f"{size:.3g} {self.unit}{share}"
        half = (found.interval[1] - found.interval[0]) / 2
        if not 1e-9 < half < 1e9:
            return f"{size:.3g} ± {half:.2g} {self.unit}{share}"
        digits = max(0, 1 - math.floor(math.log10(half)))
        return f"{size:.{digits}f} ± {half:.{digits}f} {self.unit}{share}"

    def _signed(self, difference: float | None, rival: Contender) -> str:
        """Return a difference with its sign and percentage, or an empty text if there is none."""
        if difference is None:
            return ""
        return f"{difference:+.3g}{_in_brackets(_percent(difference, rival, '+'))}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _percent(difference: float, rival: Contender, sign: str = "") -> str:
    """Return a difference as a percentage of the baseline's value.

    Empty if the value is 0 or missing, or if the percentage has four digits.
    """
    if not rival.value:
        return ""
    percent = 100 * difference / abs(rival.value)
    return f"{percent:{sign}.2g} %" if abs(percent) < 1000 else ""


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _show_interval(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"
