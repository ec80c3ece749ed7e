"""`@lrsearch.objective`: a function that trains one run in any framework and returns its value."""

from __future__ import annotations

import numbers
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lrsearch.bounds import COUNT, STEPS, Bound
from lrsearch.contract import Runs, Setup
from lrsearch.errors import RequestError, RunStopped, given, log, real
from lrsearch.failure import reason_of, trace_of
from lrsearch.objectives.child_processes import child_processes, end_child_processes
from lrsearch.outcome import Outcome
from lrsearch.ranges import Range, check_entry
from lrsearch.run import Run
from lrsearch.schedule import Budget

Training = Callable[[Run], float]

_NUMBER = Bound(optional=True)
_VERSION = Bound(kind="int", low=0, high=2**31 - 1)


class FunctionObjective:
    """A function as an objective; calling it calls the function.

    Attributes:
        function: function of a `lrsearch.Run` that returns the value.
        setup: its description.
    """

    def __init__(self, function: Training, setup: Setup) -> None:
        self.function = function
        self.setup = setup
        self.__name__ = setup.name
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def __call__(self, run: Run) -> float:
        """Call the function."""
        return self.function(run)

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Evaluate runs one by one."""
        while taken := runs.take(1):
            yield self.answer(taken[0])

    def answer(self, run: Run) -> Outcome:
        """Run the function once; an exception fails only this run.

        An interruption ends the processes that the function has started in this run. Processes of
        earlier runs, such as the workers of a loader that all runs share, are left alone.
        """
        before, process = child_processes(), os.getpid()
        try:
            try:
                value: Any = self.function(run)
            finally:
                if os.getpid() != process:  # a forked child must not search, too
                    _end_child()
        except RunStopped as stop:
            return run.end(stop.state, reason=str(stop))
        except KeyboardInterrupt:
            if ended := end_child_processes(before):
                log.warning("%d processes of the interrupted run were ended", ended)
            raise
        except BaseException as error:  # noqa: BLE001  # a user's code may raise anything
            return run.end("failed", reason=reason_of(error), details=trace_of(error))
        if run.stopped is not None:  # the function caught the exception of `report`
            return run.end(run.stopped.state, reason=str(run.stopped))
        number = real(value)
        if number is None:
            reason = f"{self.setup.name} returned {given(value)}"[:200]
            return run.end("failed", reason=f"{reason}, which is not a number; return the value")
        return run.end("finished", number)

    def optimum(self, budget: Budget) -> float | None:
        """Return None: the optimum is unknown."""
        return None


def objective(
    function: Training | None = None,
    *,
    peak: tuple[float, float] | None = None,
    unit: str = "value",
    name: str | None = None,
    steps: int = 1000,
    batch: int = 1,
    momentum: float | tuple[float, float] | None = None,
    usual_peak: float | None = None,
    positive: bool = False,
    exact: bool = False,
    untrained: float | None = None,
    loss_decreases: bool = True,
    direction: str = "minimize",
    version: int = 1,
) -> Any:
    """Make an objective from a function `train(run)` that returns a value; lower is better.

    Use it as `@objective(peak=(1e-4, 1e-1))`, or as `@objective` if the space or the command gives
    the range of the peak.

    Args:
        function: the decorated function.
        peak: lowest and highest peak learning rate to search, on a logarithmic scale.
        unit: unit of the value, shown in reports.
        name: name of the objective; None for the function's name.
        steps: default number of steps of a run.
        batch: default batch size of the first step.
        momentum: momentum of schedules that define none: a number, a range, or None.
        usual_peak: the peak of the default schedule; None is the middle of the range.
        positive: True if values are positive, so that a sampler may model their logarithm.
        exact: True if the value of a schedule does not depend on the seed.
        untrained: value of an untrained model, which the sampler gets for a diverged trial.
        loss_decreases: False if the reported loss need not decrease in a healthy run, such as a
            policy-gradient loss; only a loss that is not finite then means divergence.
        direction: must be `minimize`.
        version: number to increase when the function's values change; older studies are then not
            continued.

    Raises:
        RequestError: a value is out of range, or `direction` is not `minimize`.

    Example:
        >>> @lrsearch.objective(peak=(1e-3, 1.0), steps=50)
        ... def bowl(run):
        ...     x = 1.0
        ...     for t, (lr, _) in enumerate(run.plan):
        ...         x -= lr * x
        ...         run.report(t, x * x)
        ...     return x * x
        >>> lrsearch.tune(bowl, trials=3, tracking_uri="none").counts["finished"]
        3
    """
    if direction != "minimize":
        raise RequestError(
            f"direction is {direction!r}, but lrsearch minimises; return the negative of a value "
            "to maximise"
        )
    given = {"peak": peak, "momentum": momentum}
    entries = {field: _entry(field, own) for field, own in given.items() if own is not None}

    def decorate(function: Training) -> FunctionObjective:
        if not callable(function):
            raise RequestError(f"objective is {function!r}; decorate a function train(run)")
        own = getattr(function, "__name__", type(function).__name__)
        setup = Setup(
            name=own if name is None else name,
            unit=unit,
            about=(function.__doc__ or "").strip().partition("\n")[0],
            steps=STEPS.check("steps", steps),
            batch=COUNT.check("batch", batch),
            entries=entries,
            usual_peak=_NUMBER.check("usual_peak", usual_peak),
            positive=positive,
            exact=exact,
            untrained=_NUMBER.check("untrained", untrained),
            loss_decreases=loss_decreases,
            version=_VERSION.check("version", version),
        )
        return FunctionObjective(function, setup)

    return decorate if function is None else decorate(function)


def _end_child() -> None:
    """End a process that the function has forked and that has left the function."""
    error = sys.exception()
    if error is not None:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if error is None else 1)


def _entry(field: str, given: Any) -> Any:
    if isinstance(given, Range | Mapping | numbers.Real):
        return check_entry(field, given)
    try:
        low, high = given
    except (TypeError, ValueError):
        raise RequestError(f"{field} is {given!r}; give a pair (low, high)") from None
    return check_entry(field, {"low": low, "high": high, "log": field == "peak"})
