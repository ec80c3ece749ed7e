"""`Run`: one Plan with one seed, handed to an objective, which reports how it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.divergence import (
    describe_divergence,
    divergence,
    divergence_limit,
    divergence_window,
)
from lrsearch.errors import RequestError, RunStopped, one_line
from lrsearch.plan import Plan
from lrsearch.result import Outcome
from lrsearch.trace import Trace


@dataclass(kw_only=True, eq=False)
class Run:
    """One Plan with one seed, handed to an objective.

    Attributes:
        trial, replicate: which run this is.
        seed: of everything that the run draws; shared by all trials of a replicate.
        plan: what to do at each update.
        stops: whether a run that has diverged ends at once; a non-finite loss always does.
        untrained: the value of an untrained model, where it is known.
        limit: seconds that it may take, or None.
        retries: how often it was lost with its process and begun again.
        home: where `folder` is made, an absolute path; None where there is no study.
        stopped: what `report` raised, once it has.

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
    stops: bool = True
    untrained: float | None = None
    limit: float | None = None
    retries: int = 0
    home: str | None = None
    stopped: RunStopped | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._window = divergence_window(len(self.plan))
        self._began = time.perf_counter()
        self.restart()

    def restart(self) -> None:
        """Forget what was reported: the run begins again at update 0."""
        self._updates: list[int] = []
        self._losses: list[float] = []
        self._figures: dict[str, float] = {}
        self._high = 0  # how many of the last `_window` losses are
        self._negative, self.stopped = False, None

    @property
    def folder(self) -> Path:
        """A folder of this run's own, for checkpoints; a run that is begun again finds it.

        Raises:
            RequestError: the run belongs to no study, or a link leads out of the study's folder.
        """
        if self.home is None:
            raise RequestError("this run belongs to no study, so it has no folder; make your own")
        folder = Path(self.home)
        for place in (folder.parent, folder):
            if place.is_symlink():
                raise RequestError(f"{place} is a symbolic link; remove it, and run again")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report(self, t: int, loss: float) -> None:
        """Tells the loss of update t.

        Raises:
            RunStopped: the run is hopeless; let it pass.
            RequestError: there is no such update, or it was reported before.
        """
        if not (self._updates[-1] if self._updates else -1) < t < len(self.plan):
            raise RequestError(
                f"report of update {t} after {self._updates[-1] if self._updates else 'none'}; "
                f"this run has the updates 0 to {len(self.plan) - 1}, each reported at most once"
            )
        self._updates.append(t)
        self._losses.append(float(loss))
        self.stopped = self._judge()
        if self.stopped is not None:
            raise self.stopped

    def report_all(self, first: int, losses: Sequence[float]) -> None:
        """Tells the losses of consecutive updates, as `report` would one by one.

        Args:
            first: the first of the updates.
            losses: one an update, up to the one that ends the run.

        Raises:
            RunStopped: as for `report`; what comes after that update is not taken.
            RequestError: as for `report`.
        """
        if losses and not self._losses:
            self.report(first, losses[0])
            first, losses = first + 1, losses[1:]
        fits = losses and self._updates[-1] < first and first + len(losses) <= len(self.plan)
        if fits and self.limit is None and not self._high:
            limit = divergence_limit(self._losses[0], self.untrained)
            # The sum of what is not finite is not, and no comparison with NaN is wanted.
            if math.isfinite(sum(losses)) and min(losses) >= 0 and max(losses) <= limit:
                self._updates += range(first, first + len(losses))
                self._losses += map(float, losses)
                return
        for t, loss in enumerate(losses, first):
            self.report(t, loss)

    def _judge(self) -> RunStopped | None:
        """Whether the latest report ends the run."""
        t, loss = self._updates[-1], self._losses[-1]
        if self.limit is not None and time.perf_counter() - self._began > self.limit:
            return RunStopped("failed", f"it took longer than {self.limit:g} s, up to update {t}")
        if not math.isfinite(loss):
            return RunStopped("diverged", describe_divergence(t, loss))
        if self.stops and self._may_have_diverged():
            at = divergence(self._losses, len(self.plan), self.untrained)
            if at is not None:
                reason = describe_divergence(self._updates[at], self._losses[at])
                return RunStopped("diverged", reason)
        return None

    def _may_have_diverged(self) -> bool:
        """Whether half of the window is high, without which no median can be."""
        losses, window = self._losses, self._window
        limit = divergence_limit(losses[0], self.untrained)
        self._high += losses[-1] > limit
        self._negative = self._negative or losses[-1] < 0
        if len(losses) > window:
            self._high -= losses[-1 - window] > limit
        return not self._negative and len(losses) >= window <= 2 * self._high

    def note(self, name: str, value: float) -> None:
        """Keeps a further figure of the run, if it is finite."""
        if math.isfinite(value):
            self._figures[name] = float(value)

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
        """The outcome of this run; a non-finite value makes it `diverged`.

        Args:
            state: one of `lrsearch.result.STATES`.
            value: of a finished run.
            reason: why it did not finish, one line.
            details: of a failure, its traceback.
            seconds: its share of the time; None is the time since it was made.
            probing: what of it was spent on diagnostics.
            updates: how many were done; None is all of them if it finished, else up to the last
                report.
            traces: further curves beside `loss`, which `report` collected.
        """
        if state == "finished" and (value is None or not math.isfinite(value)):
            state, reason = "diverged", f"the value at the end is {value}"
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
