"""A diagnostic in one picture: the value against it, and its way through the runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lrsearch.report.schedule_figure import finish_axes
from lrsearch.result import Result, Trial

#: Curves that are drawn at most: every n-th trial by peak.
MOST_CURVES = 40
#: A range is drawn on a logarithmic scale from this ratio on.
WIDE = 10.0


def draw_diagnostic(
    result: Result, name: str, trials: Sequence[Trial], correlation: float | None
) -> Figure:
    """The value against a diagnostic, colour by peak; beside it the diagnostic by update.

    Args:
        result: of the study.
        name: of the diagnostic.
        trials: finished ones that have it.
        correlation: of the two, for the title; None leaves it out.
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
    figure.colorbar(dots, ax=list(axes), label="peak")
    rank = "" if correlation is None else f", Spearman {correlation:+.2f}"
    title, unit = f"{result.study}: {len(trials)} trials{rank}", f"value ({result.unit})"
    finish_axes(axes[0], title, name, unit, log_x=_wide(x), log_y=_wide(y))
    if drawn:
        _draw_curves(axes[1], name, drawn[:: -(-len(drawn) // MOST_CURVES)], scale)
    return figure


def _draw_curves(axes: Axes, name: str, trials: Sequence[Trial], scale: LogNorm) -> None:
    """One curve a trial, of its first seed; of a diverged one dashed."""
    shown = []
    for trial in trials:
        trace = next(o.traces[name] for o in trial.outcomes if name in o.traces)
        colour = colormaps["viridis"](scale(trial.schedule.peak))
        style = "-" if trial.state == "finished" else "--"
        axes.plot(trace.updates, trace.values, style, color=colour, linewidth=1.0, marker=".")
        shown += [value for value in trace.values if value > 0]
    if shown and max(shown) > WIDE * min(shown):
        # Downwards from the largest: a rate that ends at 0 takes the ratio along.
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
    title = f"along the runs, {len(trials)} of them by peak; dashed: diverged"
    finish_axes(axes, title, "update", name)


def _wide(values: np.ndarray) -> bool:
    return bool(values.min() > 0 and values.max() > WIDE * values.min())
