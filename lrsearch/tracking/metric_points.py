"""Curves as MLflow wants them: few points, few curves, one for all seeds of a trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lrsearch.plan import Plan
from lrsearch.trace import Trace

#: MLflow's page draws no more points of a curve.
CURVE_POINTS = 500
#: Points of a whole study. At 0.15 ms a point on SQLite, more would outlast a fast search.
STUDY_POINTS = 40_000
FEWEST_POINTS = 40


def share(trials: int) -> int:
    """How many points a curve of a study of so many trials may have; two long curves a trial."""
    return max(FEWEST_POINTS, min(CURVE_POINTS, STUDY_POINTS // (2 * max(trials, 1))))


def planned(plan: Plan, done: int) -> dict[str, Trace]:
    """The curves of a plan up to an update: the rate always, the rest where it varies."""
    others = {"batch": plan.batch, "momentum": plan.momentum}
    columns = {"lr": plan.lr, **{n: c for n, c in others.items() if (c != c[0]).any()}}
    if "batch" in columns:  # else it is the rate's curve
        columns["rate_over_batch"] = plan.lr / plan.batch
    return {name: Trace.of(range(done), c[:done].tolist()) for name, c in columns.items()}


def mean_trace(traces: Sequence[Trace]) -> Trace:
    """The mean of a curve over seeds, at the updates of the longest one.

    Where a seed has no such update its neighbours are interpolated; beyond its end it does not
    count.
    """
    traces = [trace for trace in traces if trace.updates]
    if len(traces) < 2:
        return traces[0] if traces else Trace((), ())
    at = max((trace.updates for trace in traces), key=len)
    rows = [
        np.interp(at, trace.updates, trace.values, left=np.nan, right=np.nan) for trace in traces
    ]
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0.0).sum(0)
    return Trace.of(at, (total / known.sum(0)).tolist())


def points(curves: Mapping[str, Trace], most: int) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of every point of some curves, at most so many of each."""
    for name, trace in curves.items():
        thin = trace.thin(most)
        yield from ((name, u, v) for u, v in zip(thin.updates, thin.values, strict=True))
