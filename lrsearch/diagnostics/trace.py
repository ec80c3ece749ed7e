"""Diagnostics of a run's curves: spikes, norms and energy, from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.result import Trace

__all__ = ["count_spikes", "diagnose_traces"]

#: A report this many MADs above its window's median is a spike. A convention: normal noise passes
#: it once in 10^8 reports (1.4826·MAD is a standard deviation).
SPIKE = 6 * 1.4826
#: Reports in the window: about a fiftieth of the curve, and these at least and at most.
FEWEST, MOST = 10, 101


def count_spikes(losses: ArrayLike) -> int:
    """How often the loss leaps above median + k·MAD of the reports before it.

    Neighbouring reports above it are one spike. The MAD is at least a thousandth of the median, so
    that a curve without noise has none.

    Args:
        losses: in their order, finite, shape `[n]`.
    """
    x = np.asarray(losses, dtype=np.float64)
    window = min(max(FEWEST, len(x) // 50), MOST)
    if len(x) <= window:
        return 0
    from scipy import ndimage  # 0.1 s of import

    # A filter's window is centred; shifted back by half and one more, it ends before the report.
    middle = ndimage.median_filter(x, window, mode="nearest")
    spread = ndimage.median_filter(np.abs(x - middle), window, mode="nearest")
    late = np.arange(window, len(x))
    centre = late - 1 - (window - 1) // 2
    limit = middle[centre] + SPIKE * np.maximum(spread[centre], 1e-3 * np.abs(middle[centre]))
    high = x[late] > limit
    return int(high[0]) + int((high[1:] & ~high[:-1]).sum())


def diagnose_traces(traces: Mapping[str, Trace]) -> dict[str, float]:
    """Numbers of a run's curves; names as in `lrsearch.diagnostics.names`.

    Args:
        traces: `loss`, and where they were recorded `gradient_norm`, `update_norm` and
            `deviation`, at the same updates each.
    """
    figures: dict[str, float] = {}
    if "loss" in traces and len(traces["loss"].values) > 1:
        figures["spikes"] = count_spikes(traces["loss"].values)
    for name, figure in (
        ("deviation", "largest_deviation"),
        ("update_norm", "largest_update"),
        ("gradient_norm", "largest_gradient"),
    ):
        if name in traces and traces[name].values:
            figures[figure] = max(traces[name].values)
    if "gradient_norm" in traces and traces["gradient_norm"].values:
        figures["last_gradient"] = traces["gradient_norm"].values[-1]
    energy = _energy(traces)
    if len(energy) > 1:
        steps = np.diff(energy)
        figures |= {
            "energy_injections": int((steps > 0).sum()),
            "energy_injected": float(steps[steps > 0].sum()),
        }
    return figures


def _energy(traces: Mapping[str, Trace]) -> np.ndarray:
    """f(θ_{t+1}) + ½‖θ_{t+1} - θ_t‖² after every update t whose norm is known.

    The loss is that of the next update's batch, before it.
    """
    if "loss" not in traces or "update_norm" not in traces:
        return np.zeros(0)
    loss = dict(zip(traces["loss"].updates, traces["loss"].values, strict=True))
    moves = zip(traces["update_norm"].updates, traces["update_norm"].values, strict=True)
    return np.array([loss[t + 1] + 0.5 * norm**2 for t, norm in moves if t + 1 in loss])
