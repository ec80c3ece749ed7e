"""Diagnostics of a run's recorded curves: loss spikes, norms and energy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.trace import Trace

#: A loss spike is a report more than eight robust standard deviations (1.4826·MAD) above the
#: median of the previous fifty. This is a convention. Normal noise exceeds the limit less than
#: once in 10^6 reports, log-normal noise with deviation .3 once in 10^4 (simulated).
SPIKE, WINDOW = 8 * 1.4826, 50
#: Number of reports that are processed at once, to limit memory.
BLOCK = 4096
#: Curves whose largest value is a diagnostic, and the name of the diagnostic.
LARGEST = {
    "deviation": "largest_deviation",
    "update_norm": "largest_update",
    "gradient_norm": "largest_gradient",
}


def count_spikes(losses: ArrayLike) -> int:
    """Return the number of loss spikes: reports above median + k·MAD of the previous 50.

    Adjacent reports above the limit are one spike. The MAD is at least a thousandth of the median,
    so that a curve without noise has no spikes.

    Args:
        losses: finite losses in order, shape `[n]`. With fewer than 51 the result is 0.
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
    """Return the diagnostics of a run's curves, with the names of `lrsearch.diagnostics.names`.

    Args:
        traces: curves by name: `loss` and, if recorded, `gradient_norm`, `update_norm` and
            `deviation` at the same updates.
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
    """Return f(θ_{t+1}) + ½‖θ_{t+1} - θ_t‖² after every update t whose norm is known.

    The loss f is that of the next update's batch, before that update. The argument is that of
    `diagnose_traces`.
    """
    if "loss" not in traces or "update_norm" not in traces:
        return Trace((), ())
    loss = dict(zip(traces["loss"].updates, traces["loss"].values, strict=True))
    moves = zip(traces["update_norm"].updates, traces["update_norm"].values, strict=True)
    known = [(t, loss[t + 1] + 0.5 * norm**2) for t, norm in moves if t + 1 in loss]
    return Trace.of((t for t, _ in known), (energy for _, energy in known))
