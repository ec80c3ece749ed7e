"""The values of a comparison so far, and the peaks at which its shapes are run next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lrsearch.schedule import Schedule
from lrsearch.search.comparison_plan import ComparisonPlan, Shape
from lrsearch.search.exact_peaks import next_peak
from lrsearch.search.noisy_peaks import next_peaks, residual_noise
from lrsearch.seeding import REPORT, SELECT


@dataclass(frozen=True)
class Request:
    """Runs that a comparison needs before it can go on.

    Attributes:
        stage: `select` or `report`, which have different seeds.
        runs: schedules and the numbers of their seeds.
    """

    stage: str
    runs: tuple[tuple[Schedule, int], ...]


class Values(dict[tuple[str, Schedule, int], float]):
    """Values by stage, schedule and number of the seed; infinite for a diverged seed."""

    def selected(self, schedule: Schedule, seeds: int) -> list[float]:
        """Return the values on the first selection seeds, as far as they are known."""
        found = (self.get((SELECT, schedule, r)) for r in range(seeds))
        return [value for value in found if value is not None]

    def fresh(self, schedule: Schedule) -> list[float]:
        """Return the values on fresh seeds."""
        values: list[float] = []
        while (value := self.get((REPORT, schedule, len(values)))) is not None:
            values.append(value)
        return values


class PeakTuning:
    """The runs that tune the peaks of the shapes of a comparison.

    Args:
        plan: the plan of the comparison.
        values: its values, which the runs of requests are added to.

    Attributes:
        shapes: all shapes by name.
    """

    def __init__(self, plan: ComparisonPlan, values: Values) -> None:
        self.shapes = {shape.name: shape for shape in (*plan.candidates, *plan.alternatives)}
        self._plan, self._values = plan, values
        self._runs: dict[str, list[tuple[Schedule, int]]] = {}

    def at(self, name: str, peak: float) -> Schedule:
        """Return a shape with a peak."""
        return self.shapes[name].schedule.replace(peak=peak)

    def ask(self, names: Sequence[str], noise: float, goal: float) -> list[tuple[Schedule, int]]:
        """Return the next runs of all shapes together, or none if all peaks are known.

        Args:
            names: names of the shapes whose peaks are tuned.
            noise: standard deviation of a value between seeds; 0 if it is not known yet.
            goal: expected gain at which a peak is known.
        """
        asked = []
        for name in names:
            shape, done = self.shapes[name], self._runs.setdefault(name, [])
            start = shape.schedule.peak
            peaks = next_peaks(self._run(name), self._known(shape), start, noise, goal, shape.most)
            for peak in peaks:
                done.append((self.at(name, peak), len(done)))  # the i-th run has the i-th seed
                asked.append(done[-1])
        return asked

    def tune_exactly(self) -> Iterator[Request]:
        """Yield the runs that find the best peaks of shapes whose values have no noise."""
        tuned = [shape for shape in self.shapes.values() if not shape.fixed]
        for shape in self.shapes.values():
            own = {shape.schedule.peak}
            peaks = own if shape.fixed else {*self._plan.grid, *own}
            self._runs[shape.name] = [(self.at(shape.name, peak), 0) for peak in sorted(peaks)]
        asked = [run for runs in self._runs.values() for run in runs]
        while asked:
            yield Request(SELECT, tuple(asked))
            asked = []
            for shape in tuned:
                peak = next_peak(dict(self._run(shape.name)))
                if peak is not None:
                    asked.append((self.at(shape.name, peak), 0))
                    self._runs[shape.name].append(asked[-1])

    def points(self, name: str) -> list[tuple[float, float]]:
        """Return all that is known of a shape: peaks and values."""
        return [*self._run(name), *self._known(self.shapes[name])]

    def lowest(self, name: str) -> float:
        """Return the peak with the lowest value, of a shape without noise."""
        return min(self._run(name), key=lambda run: (run[1], run[0]))[0]

    def noise(self) -> float:
        """Return the standard deviation of values around the fitted quadratics; 0 if unknown."""
        tuned = [self.points(s.name) for s in self._plan.alternatives if not s.fixed]
        return residual_noise(tuned) or 0.0

    def _run(self, name: str) -> list[tuple[float, float]]:
        runs = self._runs.get(name, ())
        return [(s.peak, self._values[SELECT, s, replicate]) for s, replicate in runs]

    def _known(self, shape: Shape) -> list[tuple[float, float]]:
        """Return what is known beside the tuning: trials, and seeds on which it was chosen."""
        done = set(self._runs.get(shape.name, ()))
        chosen = [(shape.schedule, r) for r in range(self._plan.selection)]
        repeats = [
            (shape.schedule.peak, self._values[SELECT, s, r])
            for s, r in chosen
            if shape in self._plan.candidates
            and (s, r) not in done
            and (SELECT, s, r) in self._values
        ]
        return [*shape.known, *repeats]
