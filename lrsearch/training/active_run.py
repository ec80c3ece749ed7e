"""A run in flight in a population."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lrsearch.contract import Probes
from lrsearch.errors import RunStopped
from lrsearch.result import Outcome
from lrsearch.run import Run
from lrsearch.trace import Trace


@dataclass
class ActiveRun:
    """A run in flight; its place in the list is its row in the stack.

    Attributes:
        run: what is trained.
        done: updates so far.
        seconds, probing: its share of the time, and what of it looks took.
        checks: after how many updates its value is computed before the end.
        agenda: after how many updates its landscape is looked at, and for what.
        norms: the updates whose norms are kept.
        rests: whether its momentum is 0 at times and not at others.
        width: the batch of all its updates, or None where it changes.
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
        """Takes from probes when they want to see it, of so many training samples."""
        if probes.looks:
            updates, batch = len(self.run.plan), int(self.run.plan.batch[0])
            self.norms = probes.norms(updates, batch)
            self.agenda = probes.agenda(updates, batch, available)

    @property
    def left(self) -> int:
        """Updates to go."""
        return len(self.run.plan) - self.done

    @property
    def until_check(self) -> int:
        """Updates until it is looked at next."""
        marks = (*self.checks, *self.agenda, len(self.run.plan))
        return min(mark for mark in marks if mark > self.done) - self.done

    @property
    def turn(self) -> int:
        """Which of its looks is due, from 0."""
        return sorted(self.agenda).index(self.done)

    def keep(self, update: int, figures: Mapping[str, float]) -> None:
        """Adds a point to each of some curves."""
        for name, value in figures.items():
            self._kept.setdefault(name, []).append((update, value))

    def finish(self, value: float, figures: Mapping[str, float]) -> Outcome:
        """How it ended after its last update, with the figures of its model."""
        for name, figure in figures.items():
            self.run.note(name, figure)
        return self.end("finished", value)

    def end(
        self, state: str, value: float | None = None, *, reason: str = "", details: str = ""
    ) -> Outcome:
        """How it ended, with its curves."""
        curves = {name: Trace.of(*zip(*kept, strict=True)) for name, kept in self._kept.items()}
        return self.run.end(
            state,
            value,
            reason=reason,
            details=details,
            seconds=self.seconds,
            probing=self.probing,
            # None of a curve's points may have been finite.
            traces={name: curve for name, curve in curves.items() if curve.values},
        )

    def report(self, losses: list[float]) -> RunStopped | None:
        """Tells the run its latest losses; what stopped it, if anything did."""
        try:
            self.run.report_all(self.done - len(losses), losses)
        except RunStopped as stop:
            return stop
        return None
