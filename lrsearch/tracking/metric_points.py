"""Curves in the form that MLflow needs: few points, few curves, one for all seeds of a trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lrsearch.plan import Plan
from lrsearch.trace import Trace

#: Largest number of points per curve that MLflow's page draws.
CURVE_POINTS = 500
#: Largest number of points of a study. SQLite takes 0.15 ms per point; writing more would take
#: longer than a fast search.
STUDY_POINTS = 40_000
#: Every curve may have this number of points, even in a long study.
FEWEST_POINTS = 40


def share(trials: int) -> int:
    """Return the largest number of points per curve, for two long curves per trial.

    Args:
        trials: number of trials of the study.
    """
    return max(FEWEST_POINTS, min(CURVE_POINTS, STUDY_POINTS // (2 * max(trials, 1))))


def planned(plan: Plan, done: int) -> dict[str, Trace]:
    """Return the curves of a plan over its first `done` steps.

    The learning rate is always included, batch size and momentum only if they vary.
    """
    others = {"batch": plan.batch, "momentum": plan.momentum}
    columns = {"lr": plan.lr, **{n: c for n, c in others.items() if (c != c[0]).any()}}
    if "batch" in columns:  # with a constant batch it has the shape of the rate
        columns["rate_over_batch"] = plan.lr / plan.batch
    return {name: Trace.of(range(done), c[:done].tolist()) for name, c in columns.items()}


def mean_trace(traces: Sequence[Trace]) -> Trace:
    """Return the mean of a curve over seeds, at the updates of the longest curve.

    If a seed has no point at an update, its neighbouring points are interpolated. Beyond its last
    point a seed is not counted.
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
    """Yield name, step and value of the points of some curves, at most `most` per curve."""
    for name, trace in curves.items():
        thin = trace.thin(most)
        yield from ((name, u, v) for u, v in zip(thin.updates, thin.values, strict=True))
