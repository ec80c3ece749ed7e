"""`Run`: one Plan with one seed, which an objective trains and reports on."""

from __future__ import annotations

import math
import operator
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.divergence import DivergenceRule, describe_divergence
from lrsearch.errors import RequestError, RunStopped, given, is_finite, one_line, real
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.schedule import Schedule
from lrsearch.trace import Trace

#: Names of the numbers and curves that every run has, which a note cannot have.
RESERVED = frozenset(
    ("value", "seconds", "estimate", "loss", "lr", "batch", "momentum", "rate_over_batch")
)
#: Largest length of the name of a note, in characters: that of a metric in MLflow.
NAME_LIMIT = 250


def _step(t: object) -> int:
    """Return the index of a step as an integer.

    Raises:
        RequestError: it is not an integer.
    """
    if isinstance(t, float) and t.is_integer():
        return int(t)
    try:
        return operator.index(t)  # type: ignore[arg-type]
    except Exception as error:  # a user's object may raise anything
        raise RequestError(f"the step is {given(t)}; report an integer, from 0") from error


@dataclass(kw_only=True, eq=False)
class Run:
    """One Plan with one seed, which an objective trains.

    Attributes:
        trial, replicate: indices of the run.
        seed: seed of all random numbers of the run, the same for all trials of a replicate.
        plan: learning rate, batch and momentum of every step.
        schedule: the schedule of the plan, or None if it is not known.
        stops: True if a diverged run ends early; a non-finite loss always ends it.
        untrained: value of an untrained model, or None if unknown.
        loss_decreases: False if only a non-finite loss means that the run has diverged.
        limit: time limit in seconds, or None.
        retries: number of earlier attempts whose process died.
        home: absolute path of `folder`; None if there is no study.
        stopped: the exception that `report` has raised, or None.

    Example:
        >>> plan = lrsearch.Schedule(peak=0.1).plan(steps=3, batch=8)
        >>> run = lrsearch.Run(trial=0, replicate=0, seed=1, plan=plan)
        >>> for t, (lr, batch) in enumerate(run.plan):
        ...     run.report(t, 1.0 - lr)
    """

    trial: int
    replicate: int
    seed: int
    plan: Plan
    schedule: Schedule | None = None
    stops: bool = True
    untrained: float | None = None
    loss_decreases: bool = True
    limit: float | None = None
    retries: int = 0
    home: str | None = None
    stopped: RunStopped | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._began = time.perf_counter()
        self._average: Callable[[int, float], float] | None = None
        self.restart()

    def restart(self) -> None:
        """Drop all reports, because the run starts again at step 0."""
        self._updates: list[int] = []
        self._losses: list[float] = []
        self._figures: dict[str, float] = {}
        self._rule = DivergenceRule(
            len(self.plan), self.untrained, decreases=self.stops and self.loss_decreases
        )
        self.stopped = None

    def average_reports(self, average: Callable[[int, float], float]) -> None:
        """Replace every reported loss by a mean over the processes that train this run.

        Args:
            average: function of the step and the loss.
        """
        self._average = average

    @property
    def folder(self) -> Path:
        """A separate folder for this run's checkpoints; a repeated run gets the same folder.

        Raises:
            RequestError: the run belongs to no study, or a link leads out of the study's folder.
        """
        if self.home is None:
            raise RequestError(
                "this run belongs to no study, so it has no folder; use a folder of your own"
            )
        folder = Path(self.home)
        for place in (folder.parent, folder):
            if place.is_symlink():
                raise RequestError(f"{place} is a symbolic link; remove it and run again")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report(self, t: int, loss: float) -> None:
        """Report the loss of step t.

        Raises:
            RunStopped: the run has diverged, was pruned or took too long. Do not catch it.
            RequestError: the step or a later one was reported before, or the loss is not a number.

        Warns:
            UserWarning: the plan has no such step, so the report is ignored.
        """
        t = _step(t)
        if not 0 <= t < len(self.plan):
            # The text names no step, so that Python shows the warning once.
            last = len(self.plan) - 1
            text = f"a report of a step outside the plan is ignored; its steps are 0 to {last}"
            warnings.warn(text, stacklevel=2)
            return
        if self._updates and t <= self._updates[-1]:
            raise RequestError(
                f"step {t} was reported after step {self._updates[-1]}; report each of the steps "
                f"0 to {len(self.plan) - 1} at most once, in order"
            )
        number = real(loss)
        if number is None:
            raise RequestError(
                f"the loss of step {t} is {given(loss)}, which is not a finite number; report a "
                "number"
            )
        if self._average is not None:
            number = self._average(t, number)
        self._updates.append(t)
        self._losses.append(number)
        self.stopped = self._judge()
        if self.stopped is not None:
            raise self.stopped

    def report_all(self, first: int, losses: Sequence[float]) -> None:
        """Report the losses of consecutive steps, with the effect of `report`.

        Args:
            first: the first of the steps.
            losses: one loss per step, up to the one that ends the run.

        Raises:
            RunStopped: the run has diverged, was pruned or took too long; later losses are
                ignored.
            RequestError: one of the steps or a later one was reported before.

        Warns:
            UserWarning: the plan has no such step, so the report is ignored.
        """
        before = self._updates[-1] if self._updates else -1
        fits = losses and before < first and first + len(losses) <= len(self.plan)
        plain = self.limit is None and self._average is None
        if fits and plain and self._rule.skip(losses):
            self._updates += range(first, first + len(losses))
            self._losses += map(float, losses)
            return
        for t, loss in enumerate(losses, first):
            self.report(t, loss)

    def _judge(self) -> RunStopped | None:
        """Return the reason to end the run after the latest report, or None."""
        t, loss = self._updates[-1], self._losses[-1]
        if self.limit is not None and time.perf_counter() - self._began > self.limit:
            return RunStopped("failed", f"it took longer than {self.limit:g} s, up to update {t}")
        if self._rule.judge(t, loss):
            return RunStopped("diverged", describe_divergence(t, loss))
        return None

    def note(self, name: str, value: float) -> None:
        """Record another number of the run, if it is finite.

        Args:
            name: name of the number, on one line of at most 250 characters. MLflow shows `_` in
                place of characters that it does not allow.
            value: the number.

        Raises:
            RequestError: the name is one of `RESERVED` or cannot be used, or the value is not a
                number.
        """
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= NAME_LIMIT:
            raise RequestError(
                f"a note has the name {given(name)}; give printable text of 1 to {NAME_LIMIT} "
                "characters"
            )
        if name in RESERVED:
            raise RequestError(
                f"a note has the name {name}, which lrsearch uses itself; choose another name"
            )
        number = real(value)
        if number is None:
            raise RequestError(f"note {name} is {given(value)}; give a number")
        if math.isfinite(number):
            self._figures[name] = number

    def end(
        self,
        state: str,
        value: float | None = None,
        *,
        reason: str = "",
        details: str = "",
        seconds: float | None = None,
        probing: float = 0.0,
        updates: int | None = None,
        traces: Mapping[str, Trace] | None = None,
    ) -> Outcome:
        """Return the outcome of this run; a non-finite value makes it `diverged`.

        Args:
            state: one of `lrsearch.outcome.STATES`.
            value: value of a finished run.
            reason: why the run did not finish, one line.
            details: traceback of a failure.
            seconds: wall time of the run; None for the time since this object was created.
            probing: part of `seconds` spent on diagnostics.
            updates: number of steps done; None for all of them if it finished, else up to the last
                report.
            traces: curves besides `loss`, which `report` collects.
        """
        if state == "finished" and (value is None or not is_finite(value)):
            state, reason = "diverged", f"the value at the end is {given(value)}"
        if updates is None:
            reported = self._updates[-1] + 1 if self._updates else 0
            updates = len(self.plan) if state == "finished" else reported
        curves = {"loss": Trace.of(self._updates, self._losses)} if self._updates else {}
        return Outcome(
            trial=self.trial,
            replicate=self.replicate,
            state=state,
            value=value if state == "finished" else None,
            updates=updates,
            reason=one_line(reason),
            details=details,
            traces={**curves, **(traces or {})},
            figures=self._figures,
            seconds=time.perf_counter() - self._began if seconds is None else seconds,
            probing=probing,
            retries=self.retries,
        )
