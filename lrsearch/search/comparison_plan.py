"""The protocol of a comparison, without the code that runs it.

Candidates are the best schedules of a search; baselines are common schedules. The peak of each is
tuned on the same grid with the same selection seeds. The user's current schedule is compared at
its own peak and at a tuned one, which tells how much is due to the peak; the default schedule at
its usual peak. The candidate and the best alternative are chosen on the selection seeds too. The
reported values come from other seeds. Choosing on the reported seeds would give 8 % false wins
(simulated).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrsearch.comparison import Comparison
from lrsearch.contender import Contender
from lrsearch.schedule import Schedule
from lrsearch.stats import detectable, mean
from lrsearch.trace import Trace

FEWEST_SEEDS, FEWEST_SELECTION = 5, 3
#: All peaks are run on the first few selection seeds, the best few peaks of each shape on all
#: seeds. A convention: it halves the cost, and a few paired seeds tell good peaks from bad ones.
FIRST_SEEDS, KEPT_PEAKS = 3, 3


@dataclass(frozen=True, kw_only=True)
class TunedShape:
    """A shape with all peaks at which it is run.

    Attributes:
        name: `trial 71`, or the name of a baseline.
        schedules: one schedule per peak, in increasing order of the peak.
    """

    name: str
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """The runs of a comparison, and the rules by which its result is computed.

    Attributes:
        candidates, baselines: the shapes that are compared.
        selection: number of seeds on which peaks, candidate and best baseline are chosen.
        seeds: number of fresh seeds of the report. For exact objectives both numbers are 1.
        exact: True if a schedule always has the same value.
    """

    candidates: tuple[TunedShape, ...]
    baselines: tuple[TunedShape, ...]
    selection: int
    seeds: int
    exact: bool = False

    @property
    def shapes(self) -> tuple[TunedShape, ...]:
        """All shapes that are compared."""
        return (*self.candidates, *self.baselines)

    @property
    def schedules(self) -> list[Schedule]:
        """All schedules of the selection, each once."""
        return list(dict.fromkeys(s for shape in self.shapes for s in shape.schedules))

    @property
    def look(self) -> int:
        """Number of selection seeds on which all peaks are run."""
        return min(FIRST_SEEDS, self.selection)

    @property
    def runs(self) -> int:
        """Number of runs. It is an upper limit if shapes share schedules."""
        kept = sum(min(KEPT_PEAKS, len(shape.schedules)) for shape in self.shapes)
        reported = 0 if self.exact else (1 + len(self.baselines)) * self.seeds
        selected = len(self.schedules) * self.look + kept * (self.selection - self.look)
        return selected + reported

    def with_schedules(self, new: Mapping[str, Schedule]) -> ComparisonPlan:
        """Return a plan in which some shapes have one more peak, by name."""

        def grown(shape: TunedShape) -> TunedShape:
            if shape.name not in new:
                return shape
            schedules = sorted((*shape.schedules, new[shape.name]), key=lambda s: s.peak)
            return TunedShape(name=shape.name, schedules=tuple(schedules))

        return dataclasses.replace(
            self,
            candidates=tuple(map(grown, self.candidates)),
            baselines=tuple(map(grown, self.baselines)),
        )

    def describe(self) -> str:
        """Return the runs of the comparison in one line."""
        if not self.selection:
            rival = self.baselines[0].name
            return (
                f"comparing: the best schedule with the {rival} one, {self.seeds} fresh seeds: "
                f"{self.runs} runs, to show a difference above {detectable(self.seeds):.2g} "
                "standard deviations"
            )
        peaks = max(len(shape.schedules) for shape in self.shapes)
        seeds = "" if self.exact else f", {self.selection} + {self.seeds} fresh seeds"
        return (
            f"comparing: best {len(self.candidates)} schedules, {len(self.baselines)} baselines, "
            f"{peaks} peaks each{seeds}: {self.runs} runs"
        )

    def kept(self, measured: Mapping[Schedule, Sequence[float]]) -> list[Schedule]:
        """Return the best few peaks of every shape, which are run on all selection seeds.

        Args:
            measured: values of every schedule by seed; not finite for a diverged seed.
        """
        ranked = (
            sorted(shape.schedules, key=lambda s: rank_key(measured[s][: self.look]))[:KEPT_PEAKS]
            for shape in self.shapes
        )
        return list(dict.fromkeys(schedule for best in ranked for schedule in best))

    def choose(self, measured: Mapping[Schedule, Sequence[float]]) -> dict[str, Schedule]:
        """Return the best peak of every shape by name, among those with all selection seeds."""
        whole = {s for s, values in measured.items() if len(values) >= self.selection}
        return {
            shape.name: min(
                (s for s in shape.schedules if s in whole), key=lambda s: rank_key(measured[s])
            )
            for shape in self.shapes
        }

    def finalists(self, measured: Mapping[Schedule, Sequence[float]]) -> dict[str, Schedule]:
        """Return the schedules of the report: the best candidate first, then every baseline."""
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
        """Return the comparison from the values of the selection and of the report.

        Args:
            unit: unit of the values.
            measured: values of every schedule by selection seed.
            reported: values of every finalist by fresh seed.
            losses: training curves of the finalists.
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
    """Return the sort key of a schedule: number of diverged seeds, then the mean of the rest."""
    finite = [value for value in values if math.isfinite(value)]
    return len(values) - len(finite), mean(finite) if finite else math.inf


def mean_of_finite(values: Sequence[float]) -> float | None:
    """Return the mean over the seeds that finished; None if no seed finished."""
    _, found = rank_key(values)
    return found if math.isfinite(found) else None
