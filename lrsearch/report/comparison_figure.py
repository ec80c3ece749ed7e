"""A figure of a comparison: schedules, losses, sensitivity to the peak, importance of fields."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from lrsearch.comparison import Comparison
from lrsearch.contender import Contender
from lrsearch.report.schedule_figure import finish_axes
from lrsearch.result import Result

COLOURS = (
    *("tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:pink"),
    *("tab:olive", "tab:cyan", "tab:gray", "darkkhaki"),
)
#: Number of points at which the losses of several seeds are averaged.
POINTS = 60


def draw_comparison(
    figure: Figure | SubFigure,
    result: Result,
    found: Comparison,
) -> None:
    """Draw the four panels of a comparison.

    Args:
        figure: figure to draw in.
        result: result of the study, for its budget and its unit.
        found: comparison of the study.
    """
    (schedules, losses), (peaks, fields) = figure.subplots(2, 2)
    chosen = result.recommended.name
    for i, (name, contender) in enumerate(reversed(found.contenders.items())):
        colour, width, label = COLOURS[i % len(COLOURS)], 1.2, contender.name
        if contender is found.best:
            colour, width, label = "tab:blue", 2.2, f"searched ({contender.name})"
        label += " *" * (name == chosen)
        plan = result.budget.plan(contender.schedule)
        schedules.plot(plan.lr, color=colour, linewidth=width, label=label)
        _draw_losses(losses, contender, colour, width)
        _draw_peaks(peaks, contender, colour, width)
    schedules.set_ylim(bottom=0)
    finish_axes(
        schedules, "Schedules with tuned peaks (*: recommended)", "step", "learning rate", legend=7
    )
    seeds = "" if found.exact else f" (mean and interquartile range of {found.seeds} seeds)"
    finish_axes(losses, f"Training loss{seeds}", "step", "loss")
    _set_log(losses)
    _set_log(peaks)
    title = "Loss vs. peak on selection seeds (ring: chosen)"
    finish_axes(peaks, title, "peak learning rate", result.unit, log_x=True)
    _draw_importance(fields, found.importance)


def _draw_losses(axes: Axes, contender: Contender, colour: str, width: float) -> None:
    """Draw the mean over seeds and a band of the interquartile range, at the same steps."""
    if not contender.losses:
        return
    last = max(trace.updates[-1] for trace in contender.losses)
    at = np.linspace(0, last, POINTS)
    # After the end of a curve, its last value is used.
    curves = np.array([np.interp(at, t.updates, t.values) for t in contender.losses])
    low, high = np.nanquantile(curves, [0.25, 0.75], axis=0)
    axes.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(at, np.nanmean(curves, axis=0), color=colour, linewidth=width)


def _draw_peaks(axes: Axes, contender: Contender, colour: str, width: float) -> None:
    known = [
        (p, v) for p, v in zip(contender.peaks, contender.selection, strict=True) if v is not None
    ]
    if not known:
        return
    axes.plot(*zip(*known, strict=True), ".-", color=colour, linewidth=width, markersize=4)
    peak = contender.schedule.peak
    value = contender.estimate if contender.estimate is not None else dict(known).get(peak)
    if value is not None:
        axes.plot([peak], [value], "o", color=colour, markersize=8, fillstyle="none")


def _draw_importance(axes: Axes, importance: Mapping[str, float]) -> None:
    """Draw one bar per field, the most important on top."""
    ranked = sorted(importance.items(), key=lambda item: item[1])
    if ranked:
        names, shares = zip(*ranked, strict=True)
        axes.barh(names, [100 * share for share in shares], color="tab:blue")
    else:
        axes.text(0.5, 0.5, "too few finished trials", ha="center", va="center")
    finish_axes(axes, "Importance of the fields (fANOVA)", "% of the variance of the loss", "")


def _set_log(axes: Axes) -> None:
    """Set a logarithmic scale if all values are positive."""
    shown = [float(np.min(line.get_ydata())) for line in axes.get_lines()]
    if shown and min(shown) > 0:
        axes.set_yscale("log")
