"""`convex-bound`: a score of a schedule without training, from convex optimization.

The value is the bound on the suboptimality of the last iterate of SGD on a convex Lipschitz
function (Schaipp et al. 2025, arXiv 2501.18965). It depends only on the learning rates, not on the
batch, the momentum or the data. It is proved for convex losses and ranked schedules of real
language models well in measurements; it does not show at which rate a network diverges.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from lrsearch.contract import Runs, Setup
from lrsearch.errors import RequestError
from lrsearch.outcome import Outcome
from lrsearch.ranges import Range
from lrsearch.run import Run
from lrsearch.schedule import Budget
from lrsearch.theory import convex_bound, convex_bound_best


@dataclass(frozen=True, kw_only=True)
class ConvexBound:
    """The convex bound as an objective.

    Each outcome also has the factor of the rates that gives the smallest bound, and that bound.

    Attributes:
        setup: its description.
        distance: D, the distance from the start to a minimum.
        gradient: G, the bound on gradient norms.
    """

    setup: Setup
    distance: float
    gradient: float

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Compute runs one by one, each in one pass over its rates."""
        while taken := runs.take(1):
            yield self._answer(taken[0])

    def _answer(self, run: Run) -> Outcome:
        began = time.perf_counter()
        words = {"distance": self.distance, "gradient": self.gradient}
        try:
            value = convex_bound(run.plan.lr, **words)
            factor, best = convex_bound_best(run.plan.lr, **words)
        except RequestError as error:  # a rate of 0 before the end of the run
            return run.end("failed", reason=str(error))
        run.note("best_rate_factor", factor)
        run.note("bound_at_best_rate", best)
        return run.end("finished", value, seconds=time.perf_counter() - began)

    def optimum(self, budget: Budget) -> float | None:
        """Return None: the optimum is unknown."""
        return None


def convex_bound_objective(*, distance: float, gradient: float) -> ConvexBound:
    """Make `convex-bound`. The best peaks are near D/(G√T), times a factor of the shape."""
    usual = distance / gradient
    setup = Setup(
        name="convex-bound",
        unit="bound on the suboptimality",
        steps=400,
        entries={"peak": Range(low=1e-3 * usual, high=usual, log=True)},
        positive=True,
        exact=True,
        options={"distance": distance, "gradient": gradient},
    )
    return ConvexBound(setup=setup, distance=distance, gradient=gradient)
