"""`Diagnosis`: the diagnostics of a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrsearch.contract import Probes, Setup
from lrsearch.diagnostics import costs
from lrsearch.diagnostics.curve_figures import diagnose_traces, energy_trace
from lrsearch.diagnostics.plan_figures import diagnose_plan
from lrsearch.landscape import Landscape
from lrsearch.outcome import Outcome
from lrsearch.plan import Plan
from lrsearch.trace import Trace

#: Curves of the landscape whose last value is a diagnostic of the run.
LANDSCAPE = (
    "weight_norm",
    "sharpness",
    "sharpness_error",
    "stability_ratio",
    "trace",
    "trace_error",
    "noise_rise",
    "worst_rise",
    "margin",
    "svm_angle",
)
#: Curves from which only diagnostics are kept.
AUXILIARY = (
    "sharpness_error",
    "update_norm",
    "deviation",
    "gradient_square",
    "gradient_variance",
    "trace",
    "trace_error",
    "noise_rise",
    "worst_rise",
)


class Diagnosis(Probes):
    """The diagnostics of a search, an implementation of `lrsearch.contract.Probes`.

    Args:
        level: one of `lrsearch.contract.LEVELS`.

    Attributes:
        level: the argument of this name.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self._directions: dict[Any, Any] = {}

    @property
    def looks(self) -> bool:
        """True if runs are measured while they train."""
        return costs.SHARES[self.level] > 0

    def samples(self, batch: int, available: int) -> int:
        """Return the number of samples of a measurement, for the batch size of the first step."""
        return costs.samples(batch, available)

    def norms(self, updates: int, batch: int) -> frozenset[int]:
        """Return the updates whose norms are kept."""
        return costs.norm_updates(self.level, updates, batch)

    def agenda(self, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
        """Return the parts of the landscape to measure, by the number of steps done before."""
        return costs.agenda(self.level, updates, batch, available)

    def look(self, landscape: Landscape, parts: frozenset[str]) -> dict[str, list[float]]:
        """Measure A runs; return numbers by name, one per run, which may be infinite or NaN."""
        # This imports torch, which only training needs.
        from lrsearch.diagnostics.landscape_measures import look

        return look(landscape, parts, self._directions)

    def complete(self, setup: Setup, plan: Plan, outcome: Outcome) -> Outcome:
        """Return an outcome with the diagnostics of its schedule and its curves added."""
        if self.level == "none":
            return outcome
        figures = diagnose_plan(plan, weight_decay=setup.weight_decay, curvature=setup.curvature)
        traces = dict(outcome.traces)
        if self.level != "schedule":
            figures |= diagnose_traces(traces)
            energy = energy_trace(traces)
            traces |= {"energy": energy} if energy.values else {}
        figures |= {n: t.values[-1] for n, t in traces.items() if n in LANDSCAPE and t.values}
        if "stability_ratio" in traces and traces["stability_ratio"].values:
            figures["largest_stability_ratio"] = max(traces["stability_ratio"].values)
        figures |= _critical_batch(traces)
        points = {n for n, t in traces.items() if n in LANDSCAPE and len(t.values) == 1}
        # A single point is not kept as a curve.
        curves = {n: t for n, t in traces.items() if n not in AUXILIARY and n not in points}
        # A figure that the objective noted replaces the diagnostic of the same name.
        figures |= outcome.figures
        return dataclasses.replace(outcome, figures=figures, traces=curves)


def _critical_batch(traces: Mapping[str, Trace]) -> dict[str, float]:
    """Return tr Σ/|G|², a ratio of averages over all measurements, if both are positive."""
    if "gradient_square" not in traces:
        return {}
    square, variance = (
        sum(traces[name].values) for name in ("gradient_square", "gradient_variance")
    )
    return {"critical_batch": variance / square} if square > 0 and variance > 0 else {}
