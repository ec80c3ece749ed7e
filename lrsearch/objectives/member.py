"""A run in flight in a population."""

from __future__ import annotations

from dataclasses import dataclass, field

from lrsearch.contract import Run
from lrsearch.errors import RunStopped
from lrsearch.result import Outcome, Trace

__all__ = ["Member"]


@dataclass
class Member:
    """A run in flight; its place in the list is its row in the stack."""

    run: Run
    done: int = 0
    seconds: float = 0.0
    checks: frozenset[int] = frozenset()
    checked: list[tuple[int, float]] = field(default_factory=list)
    rests: bool = field(init=False)

    def __post_init__(self) -> None:
        momentum = self.run.plan.momentum
        self.rests = bool(momentum.any() and not momentum.all())

    @property
    def left(self) -> int:
        """Updates to go."""
        return len(self.run.plan) - self.done

    @property
    def until_check(self) -> int:
        """Updates until its value is computed next."""
        return min((c - self.done for c in self.checks if c > self.done), default=self.left)

    def end(self, state: str, value: float | None = None, *, reason: str = "") -> Outcome:
        """How it ended, with its values along the way."""
        updates, values = zip(*self.checked, strict=True) if self.checked else ((), ())
        traces = {"val_loss": Trace.of(updates, values)} if updates else {}
        return self.run.end(state, value, reason=reason, seconds=self.seconds, traces=traces)

    def report(self, losses: list[float]) -> RunStopped | None:
        """Tells the run its latest losses; what stopped it, if anything did."""
        begin = self.done - len(losses)
        try:
            for i, loss in enumerate(losses):
                self.run.report(begin + i, loss)
        except RunStopped as stop:
            return stop
        return None
