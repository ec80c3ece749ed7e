"""Diagnostics of a run's curves: spikes, norms and energy, from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.trace import Trace

#: A report eight robust standard deviations (1.4826·MAD) above the median of the fifty before it
#: is a spike. A convention: noise passes it less than once in 10^6 reports where it is normal,
#: once in 10^4 where it is log-normal of deviation .3 (simulated).
SPIKE, WINDOW = 8 * 1.4826, 50
#: Reports that are judged at once.
BLOCK = 4096
#: The curves whose largest value is a figure, and its name.
LARGEST = {
    "deviation": "largest_deviation",
    "update_norm": "largest_update",
    "gradient_norm": "largest_gradient",
}


def count_spikes(losses: ArrayLike) -> int:
    """How often the loss leaps above median + k·MAD of the 50 reports before it.

    Neighbouring reports above it are one spike. The MAD is at least a thousandth of the median, so
    that a curve without noise has none.

    Args:
        losses: in their order, finite, shape `[n]`; below 51 of them nothing can be said.
    """
    x = np.asarray(losses, dtype=np.float64)
    if len(x) <= WINDOW:
        return 0
    before = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[:-1]
    limits = []
    for begin in range(0, len(before), BLOCK):
        block = before[begin : begin + BLOCK]
        median = np.median(block, axis=1)
        mad = np.median(np.abs(block - median[:, None]), axis=1)
        limits.append(median + SPIKE * np.maximum(mad, 1e-3 * np.abs(median)))
    high = x[WINDOW:] > np.concatenate(limits)
    return int(high[0]) + int((high[1:] & ~high[:-1]).sum())


def diagnose_traces(traces: Mapping[str, Trace]) -> dict[str, float]:
    """Numbers of a run's curves; names as in `lrsearch.diagnostics.names`.

    Args:
        traces: `loss`, and where they were recorded `gradient_norm`, `update_norm` and
            `deviation`, at the same updates each.
    """
    known = {name: trace.values for name, trace in traces.items() if trace.values}
    figures: dict[str, float] = {}
    if len(known.get("loss", ())) > 1:
        figures["spikes"] = count_spikes(known["loss"])
    figures |= {figure: max(known[name]) for name, figure in LARGEST.items() if name in known}
    if "gradient_norm" in known:
        figures["last_gradient"] = known["gradient_norm"][-1]
    energy = energy_trace(traces).values
    if len(energy) > 1:
        steps = np.diff(energy)
        figures |= {
            "energy_injections": int((steps > 0).sum()),
            "energy_injected": float(steps[steps > 0].sum()),
        }
    return figures


def energy_trace(traces: Mapping[str, Trace]) -> Trace:
    """f(θ_{t+1}) + ½‖θ_{t+1} - θ_t‖² after every update t whose norm is known.

    The loss is that of the next update's batch, before it; arguments as for `diagnose_traces`.
    """
    if "loss" not in traces or "update_norm" not in traces:
        return Trace((), ())
    loss = dict(zip(traces["loss"].updates, traces["loss"].values, strict=True))
    moves = zip(traces["update_norm"].updates, traces["update_norm"].values, strict=True)
    known = [(t, loss[t + 1] + 0.5 * norm**2) for t, norm in moves if t + 1 in loss]
    return Trace.of((t for t, _ in known), (energy for _, energy in known))
