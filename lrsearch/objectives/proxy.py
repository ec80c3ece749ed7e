"""The quadratic proxies: objectives whose value is computed exactly, without a seed.

They compute many runs in one array operation and know their optimum, so they are suitable for the
study of schedules and samplers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lrsearch.contract import Runs, Setup
from lrsearch.divergence import describe_divergence, divergence
from lrsearch.optimum import best_rates
from lrsearch.outcome import Outcome
from lrsearch.quadratic import Array, Optimizer, Quadratic, expected_loss, lr_ref, noisy_quadratic
from lrsearch.ranges import Range
from lrsearch.run import Run
from lrsearch.schedule import Budget
from lrsearch.trace import Trace

#: Number of runs in one array operation.
AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A quadratic as an objective; the value is the expected loss after the last step.

    Attributes:
        setup: its description.
        problem: the quadratic.
        optimizer: the optimizer of the recursion.
    """

    setup: Setup
    problem: Quadratic
    optimizer: Optimizer

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Compute runs exactly, many at once."""
        while taken := runs.take(AT_ONCE):
            began = time.perf_counter()
            curves = expected_loss(self.problem, [run.plan for run in taken], self.optimizer)
            seconds = (time.perf_counter() - began) / len(taken)
            for run, curve in zip(taken, curves, strict=True):
                yield _outcome(run, curve, seconds)

    def optimum(self, budget: Budget) -> float | None:
        """Return the lowest loss of SGD without momentum over all rates below 2/λ_max.

        Return None with weight decay or an averaged iterate, for which it is not computed.
        """
        if self.optimizer.weight_decay or self.optimizer.ema:
            return None
        return best_rates(self.problem, np.full(budget.steps, budget.batch))[1]


def _outcome(run: Run, curve: Array, seconds: float) -> Outcome:
    updates = len(run.plan)
    at = divergence(curve, updates, run.untrained) if run.stops else None
    if at is None and not math.isfinite(curve[-1]):
        at = int(np.flatnonzero(~np.isfinite(curve))[0])
    last = updates if at is None else at
    traces = {"loss": Trace.of(range(last + 1), curve[: last + 1])}
    if at is None:
        return run.end("finished", float(curve[-1]), seconds=seconds, traces=traces)
    reason = describe_divergence(at, curve[at])
    return run.end("diverged", reason=reason, seconds=seconds, updates=at, traces=traces)


def multiplicative(
    *, modes: int, method: str, form: str, weight_decay: float, ema: float
) -> Proxy:
    """Make `quadratic`, the reference least-squares problem (256 modes, batch 4, 200 steps).

    The best peaks are between .3 and .55 of 2/λ_max.
    """
    return _proxy(
        "quadratic",
        lr_ref(modes),
        (0.03, 1.0),
        steps=200,
        batch=4,
        options=(modes, method, form, weight_decay, ema),
    )


def additive(*, modes: int, method: str, form: str, weight_decay: float, ema: float) -> Proxy:
    """Make `quadratic-additive`, the noisy quadratic model."""
    return _proxy(
        "quadratic-additive",
        noisy_quadratic(modes),
        (0.003, 1.0),
        steps=1000,
        batch=16,
        options=(modes, method, form, weight_decay, ema),
    )


def _proxy(
    name: str,
    problem: Quadratic,
    share: tuple[float, float],
    *,
    steps: int,
    batch: int,
    options: tuple[int, str, str, float, float],
) -> Proxy:
    """Make a proxy; `share` is the range of the peak as a fraction of 2/λ_max."""
    modes, method, form, weight_decay, ema = options
    top = problem.largest_rate
    setup = Setup(
        name=name,
        unit="expected loss",
        steps=steps,
        batch=batch,
        entries={"peak": Range(low=share[0] * top, high=share[1] * top, log=True)},
        positive=True,
        exact=True,
        untrained=problem.initial_loss,
        samples=modes if problem.noise == "multiplicative" else None,
        weight_decay=weight_decay,
        curvature=float(problem.curvature.max()),
        options={
            "modes": modes,
            "method": method,
            "form": form,
            "weight_decay": weight_decay,
            "ema": ema,
        },
    )
    optimizer = Optimizer(
        form=form, nesterov=method == "nesterov", weight_decay=weight_decay, ema=ema
    )
    return Proxy(setup=setup, problem=problem, optimizer=optimizer)
