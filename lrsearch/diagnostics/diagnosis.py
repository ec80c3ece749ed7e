"""`Diagnosis`: which diagnostics a search takes, and what is made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrsearch.contract import Probes, Setup
from lrsearch.diagnostics import costs
from lrsearch.diagnostics.curve_figures import diagnose_traces, energy_trace
from lrsearch.diagnostics.plan_figures import diagnose_plan
from lrsearch.landscape import Landscape
from lrsearch.plan import Plan
from lrsearch.result import Outcome
from lrsearch.trace import Trace

#: What a look gives, each also a figure of the run, at its last look.
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
#: Curves whose figures are what is kept.
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
    """The diagnostics of a search, as `lrsearch.contract.Probes`.

    Args:
        level: one of `lrsearch.contract.LEVELS`.

    Attributes:
        level: as above.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self._directions: dict[Any, Any] = {}

    @property
    def looks(self) -> bool:
        """Whether runs are measured while they train."""
        return costs.SHARES[self.level] > 0

    def samples(self, batch: int, available: int) -> int:
        """How many samples looks take, for runs whose first batch is so large."""
        return costs.samples(batch, available)

    def norms(self, updates: int, batch: int) -> frozenset[int]:
        """The updates whose norms are wanted."""
        return costs.norm_updates(self.level, updates, batch)

    def agenda(self, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
        """After how many updates the landscape is looked at, and what is measured there."""
        return costs.agenda(self.level, updates, batch, available)

    def look(self, landscape: Landscape, parts: frozenset[str]) -> dict[str, list[float]]:
        """Measures A runs at once; numbers by name, one a run, some perhaps not finite."""
        from lrsearch.diagnostics.landscape_measures import look  # torch, for those who train

        return look(landscape, parts, self._directions)

    def complete(self, setup: Setup, plan: Plan, outcome: Outcome) -> Outcome:
        """An outcome with the diagnostics of its schedule and its curves added."""
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
        # One point is no curve.
        curves = {n: t for n, t in traces.items() if n not in AUXILIARY and n not in points}
        # What the objective noted itself under one of these names stays.
        figures |= outcome.figures
        return dataclasses.replace(outcome, figures=figures, traces=curves)


def _critical_batch(traces: Mapping[str, Trace]) -> dict[str, float]:
    """The ratio tr Σ/|G|² of averages over all looks, where both are positive."""
    if "gradient_square" not in traces:
        return {}
    square, variance = (
        sum(traces[name].values) for name in ("gradient_square", "gradient_variance")
    )
    return {"critical_batch": variance / square} if square > 0 and variance > 0 else {}
