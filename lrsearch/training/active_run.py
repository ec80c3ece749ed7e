"""A run in flight: its progress, its curves and the measurements that are due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lrsearch.contract import Probes
from lrsearch.errors import RunStopped
from lrsearch.outcome import Outcome
from lrsearch.run import Run
from lrsearch.trace import Trace


@dataclass
class ActiveRun:
    """A run in flight. In a population, its index in the list is its row in the stack.

    Attributes:
        run: the run that is trained.
        done: number of steps done so far.
        seconds: its share of the training time, including `probing`.
        probing: its share of the time that measurements took, in seconds.
        checks: step counts before the end after which its validation value is computed.
        agenda: step counts after which its landscape is measured, with the parts to measure.
        norms: indices of the updates whose norms are kept.
        rests: True if its momentum is 0 in some steps but not in all.
        width: its batch size, or None if the batch size changes.
    """

    run: Run
    checks: frozenset[int] = frozenset()
    agenda: Mapping[int, frozenset[str]] = field(default_factory=dict)
    norms: frozenset[int] = frozenset()
    done: int = 0
    seconds: float = 0.0
    probing: float = 0.0
    rests: bool = field(init=False)
    width: int | None = field(init=False)
    _kept: dict[str, list[tuple[int, float]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        momentum, batch = self.run.plan.momentum, self.run.plan.batch
        self.rests = bool(momentum.any() and not momentum.all())
        self.width = int(batch[0]) if (batch == batch[0]).all() else None

    def ask(self, probes: Probes, available: int) -> None:
        """Get from the probes at which steps this run is measured.

        Args:
            probes: the measurements of the study.
            available: number of training samples.
        """
        if probes.looks:
            updates, batch = len(self.run.plan), self.run.plan.batch[0]
            self.norms = probes.norms(updates, batch)
            self.agenda = probes.agenda(updates, batch, available)

    @property
    def left(self) -> int:
        """Number of steps left."""
        return len(self.run.plan) - self.done

    @property
    def until_check(self) -> int:
        """Number of steps until its next validation or measurement, or until its end."""
        marks = (*self.checks, *self.agenda, len(self.run.plan))
        return min(mark for mark in marks if mark > self.done) - self.done

    @property
    def turn(self) -> int:
        """Index of the measurement that is due, from 0."""
        return sorted(self.agenda).index(self.done)

    def keep(self, update: int, figures: Mapping[str, float]) -> None:
        """Add one point to the curve of each name."""
        for name, value in figures.items():
            self._kept.setdefault(name, []).append((update, value))

    def finish(self, value: float, figures: Mapping[str, float]) -> Outcome:
        """Return the outcome of a run that is complete, with the metrics of its model."""
        for name, figure in figures.items():
            self.run.note(name, figure)
        return self.end("finished", value)

    def end(
        self, state: str, value: float | None = None, *, reason: str = "", details: str = ""
    ) -> Outcome:
        """Return the outcome of the run, with its curves."""
        curves = {name: Trace.of(*zip(*kept, strict=True)) for name, kept in self._kept.items()}
        return self.run.end(
            state,
            value,
            reason=reason,
            details=details,
            seconds=self.seconds,
            probing=self.probing,
            # Omit a curve without a finite point.
            traces={name: curve for name, curve in curves.items() if curve.values},
        )

    def report(self, losses: list[float]) -> RunStopped | None:
        """Report the latest losses to the run; return the reason if this stops it, else None."""
        try:
            self.run.report_all(self.done - len(losses), losses)
        except RunStopped as stop:
            return stop
        return None
