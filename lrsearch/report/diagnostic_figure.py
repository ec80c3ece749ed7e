"""A figure of a diagnostic: the value vs. the diagnostic, and its curve during every run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lrsearch.outcome import Trial
from lrsearch.report.schedule_figure import finish_axes
from lrsearch.result import Result

#: Largest number of curves. With more trials, every n-th in order of the peak is drawn.
MOST_CURVES = 40
#: Ratio of the largest to the smallest value above which a scale is logarithmic.
WIDE = 10.0


def draw_diagnostic(
    result: Result, name: str, trials: Sequence[Trial], correlation: float | None
) -> Figure:
    """Draw the value vs. a diagnostic, coloured by peak, and the diagnostic per step.

    Args:
        result: result of the study.
        name: name of the diagnostic.
        trials: the finished trials that have it.
        correlation: rank correlation with the value, for the title; None to leave it out.
    """
    drawn = sorted(
        (t for t in result.trials if any(name in o.traces for o in t.outcomes)),
        key=lambda trial: trial.schedule.peak,
    )
    panels = 2 if drawn else 1
    figure = Figure(figsize=(5.2 * panels + 1.0, 4.0), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    peaks = [trial.schedule.peak for trial in [*trials, *drawn]]
    scale = LogNorm(min(peaks), max(peaks) if max(peaks) > min(peaks) else 2 * min(peaks))
    x = np.array([trial.diagnostics.get(name, trial.value) for trial in trials], dtype=float)
    y = np.array([trial.value for trial in trials], dtype=float)
    dots = axes[0].scatter(x, y, c=peaks[: len(trials)], norm=scale, s=16, cmap="viridis")
    figure.colorbar(dots, ax=list(axes), label="peak learning rate")
    rank = "" if correlation is None else f", Spearman correlation {correlation:+.2f}"
    title = f"{result.study}: {len(trials)} trials{rank}"
    finish_axes(axes[0], title, name, result.unit, log_x=_wide(x), log_y=_wide(y))
    if drawn:
        _draw_curves(axes[1], name, drawn[:: -(-len(drawn) // MOST_CURVES)], scale)
    return figure


def _draw_curves(axes: Axes, name: str, trials: Sequence[Trial], scale: LogNorm) -> None:
    """Draw one curve per trial, of its first seed that has it; dashed unless it finished."""
    shown = []
    for trial in trials:
        trace = next(o.traces[name] for o in trial.outcomes if name in o.traces)
        colour = colormaps["viridis"](scale(trial.schedule.peak))
        style = "-" if trial.state == "finished" else "--"
        axes.plot(trace.updates, trace.values, style, color=colour, linewidth=1.0, marker=".")
        shown += [value for value in trace.values if value > 0]
    if shown and max(shown) > WIDE * min(shown):
        # The stability ratio falls to about 0 with the rate, so the lower end is limited.
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(min(shown), 1e-3 * float(np.median(shown))))
    if name == "stability_ratio":
        axes.axhline(1.0, color="tab:red", linewidth=1.0)
        axes.text(
            0.01,
            1.0,
            "edge of stability",
            color="tab:red",
            fontsize=8,
            va="bottom",
            transform=axes.get_yaxis_transform(),
        )
    title = f"{len(trials)} runs (dashed: not finished)"
    finish_axes(axes, title, "step", name)


def _wide(values: np.ndarray) -> bool:
    return bool(values.min() > 0 and values.max() > WIDE * values.min())
