"""`Diagnosis`: which diagnostics a search takes, and when they are affordable.

What a look costs is counted in updates, from the arithmetic alone and never by a clock, so that a
run is measured alike on every machine and however often it was interrupted. The time that looks
really took is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrsearch.contract import Setup
from lrsearch.curves import round_half_up
from lrsearch.diagnostics.curve_figures import diagnose_traces, energy_trace
from lrsearch.diagnostics.plan_figures import diagnose_plan
from lrsearch.landscape import Landscape
from lrsearch.plan import Plan
from lrsearch.result import Outcome
from lrsearch.trace import Trace

#: The share of a run's updates that looks may cost, by level.
SHARES = {"none": 0.0, "schedule": 0.0, "cheap": 0.1, "full": 1.0}
#: Products with the Hessian for its largest eigenvalue. From the gradient, ten are within 1 % in
#: 97 of 100 looks at the digits' MLP, fifteen in all (measured); each look has its own bound.
LANCZOS, TRACE_VECTORS, NOISE_DRAWS, PARTS = 12, 8, 4, 4
#: Samples of a look for every sample of an update, and how many at least and at most.
SAMPLES, FEWEST, MOST = 1, 16, 256
#: What a product with the Hessian costs beside a gradient of as many samples (measured: 1.3 on
#: the digits' MLP, 2.5 on a GPT), and a loss alone.
PRODUCT, LOSS = 2.2, 0.4
#: What norms at one update cost, in updates: so much, and so much over the batch (measured on MLPs
#: of up to 10^6 parameters: an update costs in proportion to the batch, its norms do not).
NORMS, NORMS_OF_ONE = 0.1, 5.0
#: At how many updates they are taken, and the part of a level's share that they may use.
EVERY, FEWEST_NORMS, MOST_NORMS, NORMS_SHARE = 25, 8, 64, 0.3
#: Looks along the way, at most.
LOOKS = 15

#: Cost of the parts of a look, in gradients of as many samples, dearest last.
COSTS = {
    "rises": 1 + LOSS * (2 + NOISE_DRAWS),
    "noise": 1.0,
    "sharpness": 1 + LANCZOS * PRODUCT,
    "margin": 1.0,
    "trace": 1 + TRACE_VECTORS * PRODUCT,
}
#: What only `full` measures: the largest margin takes a quadratic program besides.
DEAR = ("margin", "trace")
#: Looks along the way take these: the rest is of interest at the end.
ALONG = ("noise", "sharpness")


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


class Diagnosis:
    """The diagnostics of a search, as `lrsearch.contract.Probes`.

    Args:
        level: one of `lrsearch.contract.LEVELS`.

    Attributes:
        level: as above.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self._share = SHARES[level]
        self._directions: dict[Any, Any] = {}

    @property
    def looks(self) -> bool:
        """Whether runs are measured while they train."""
        return self._share > 0

    def samples(self, batch: int, available: int) -> int:
        """How many samples looks take, for runs whose first batch is so large."""
        return min(max(SAMPLES * batch, FEWEST), max(batch, MOST), available)

    def norms(self, updates: int, batch: int) -> frozenset[int]:
        """The updates whose norms are wanted, evenly spaced, first and last included."""
        if not self.looks:
            return frozenset()
        affordable = int(NORMS_SHARE * self._share * updates / _norms_cost(batch))
        wanted = min(max(updates // EVERY, FEWEST_NORMS), MOST_NORMS, updates)
        points, last = max(min(wanted, affordable), 1), updates - 1
        if points == 1:
            return frozenset({last})
        return frozenset(round_half_up(i * last / (points - 1)) for i in range(points))

    def agenda(self, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
        """After how many updates the landscape is looked at, and what is measured there.

        What fits into the level's share, the end first; `full` measures everything at the end
        whether it fits or not.

        Args:
            updates: T of the run.
            batch: of its first update.
            available: samples that there are to train on.
        """
        if not self.looks:
            return {}
        each = max(self.samples(batch, available) / batch, 1.0)
        left = self._share * updates - _norms_cost(batch) * len(self.norms(updates, batch))
        last = set()
        for part, cost in COSTS.items():
            if self.level == "full" or (part not in DEAR and cost * each <= left):
                last.add(part)
                left -= cost * each
        along = ALONG if self.level != "full" else (*ALONG, "margin")
        look = each * sum(COSTS[part] for part in along)
        looks = max(0, min(LOOKS, int(left / look), updates - 1))
        if "sharpness" not in last:
            looks = 0
        marks = {round_half_up(updates * i / (looks + 1)) for i in range(1, looks + 1)}
        agenda = {t: frozenset(along) for t in marks - {0, updates}}
        return {**agenda, updates: frozenset(last)}

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
        looks = {n for n, t in traces.items() if n in LANDSCAPE and len(t.values) == 1}
        for name in looks:
            del traces[name]  # one point is no curve
        for name in AUXILIARY:
            traces.pop(name, None)
        # What the objective noted itself under one of these names stays.
        figures |= outcome.figures
        return dataclasses.replace(outcome, figures=figures, traces=traces)


def _norms_cost(batch: int) -> float:
    """What norms at one update cost, in updates."""
    return NORMS + NORMS_OF_ONE / batch


def _critical_batch(traces: Mapping[str, Trace]) -> dict[str, float]:
    """The ratio tr Σ/|G|² of averages over all looks, where both are positive."""
    if "gradient_square" not in traces:
        return {}
    square, variance = (
        sum(traces[name].values) for name in ("gradient_square", "gradient_variance")
    )
    return {"critical_batch": variance / square} if square > 0 and variance > 0 else {}
