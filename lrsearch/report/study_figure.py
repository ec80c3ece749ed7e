"""A figure of a study: the best schedules, the value of every trial, the value vs. the peak."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from lrsearch.outcome import Trial
from lrsearch.report.comparison_figure import draw_comparison
from lrsearch.report.schedule_figure import finish_axes
from lrsearch.result import Result

#: Number of schedules that are drawn after the best one.
RUNNERS_UP = 9
#: Colours of the default schedule and of enqueued schedules.
FIRSTS = ("tab:orange", "tab:green", "tab:purple", "tab:brown")


def draw_study(result: Result) -> Figure:
    """Draw three panels: the best schedules, the value vs. trial, the value vs. peak.

    A compared study has four more panels below them; see `lrsearch.report.comparison_figure`.

    Raises:
        NothingFinished: no trial finished.
    """
    best = result.best
    if result.comparison is None:
        figure = Figure(figsize=(11.0, 3.6), layout="constrained")
        above: Figure | SubFigure = figure
    else:
        figure = Figure(figsize=(11.0, 10.6), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[1, 2])  # type: ignore[misc]
        draw_comparison(below, result, result.comparison)
    left, middle, right = above.subplots(1, 3)
    _draw_best(left, result, best)
    _draw_progress(middle, result)
    _draw_peaks(right, result, best)
    return figure


def _draw_best(axes: Axes, result: Result, best: Trial) -> None:
    for trial in reversed(result.ranked[1 : RUNNERS_UP + 1]):
        axes.plot(_rates(result, trial), color="0.8", linewidth=1.0)
    for i, (name, first) in enumerate(reversed(result.firsts.items())):
        if first is not best:
            axes.plot(_rates(result, first), color=FIRSTS[i % 4], linewidth=1.4, label=name)
    axes.plot(_rates(result, best), color="tab:blue", linewidth=2.0, label="best")
    axes.set_ylim(bottom=0)
    title = (
        f"{result.study}: best schedules (grey: next {min(RUNNERS_UP, len(result.ranked) - 1)})"
    )
    finish_axes(axes, title, "step", "learning rate", legend=8)


def _rates(result: Result, trial: Trial) -> np.ndarray:
    return result.budget.plan(trial.schedule).lr


def _draw_progress(axes: Axes, result: Result) -> None:
    finished = [(t.index, t.value) for t in result.trials if t.value is not None]
    index, value = (np.array(column, dtype=float) for column in zip(*finished, strict=True))
    axes.plot(index, value, ".", color="0.6", markersize=4)
    axes.step(index, np.minimum.accumulate(value), where="post", color="tab:blue")
    diverged = [t.index for t in result.trials if t.state == "diverged"]
    if diverged:
        tops = [value.max()] * len(diverged)
        axes.plot(diverged, tops, "x", color="tab:red", markersize=4, label="diverged")
    if result.optimum is not None:
        axes.axhline(result.optimum, color="0.3", linestyle=":", linewidth=1.0)
    title = "Loss vs. trial (line: best so far)"
    legend, positive = 8 if diverged else 0, bool(value.min() > 0)
    finish_axes(axes, title, "trial", result.unit, legend=legend, log_y=positive)


def _draw_peaks(axes: Axes, result: Result, best: Trial) -> None:
    finished = [(t.schedule.peak, t.value) for t in result.trials if t.value is not None]
    peak, value = (np.array(column, dtype=float) for column in zip(*finished, strict=True))
    axes.plot(peak, value, ".", color="0.6", markersize=4)
    axes.plot([best.schedule.peak], [float(value.min())], "o", color="tab:blue", label="best")
    for trial in result.trials:
        if trial.state == "diverged":
            axes.axvline(trial.schedule.peak, ymax=0.04, color="tab:red", linewidth=1.0)
    positive = bool(value.min() > 0)
    title, x = "Loss vs. peak (red: diverged)", "peak learning rate"
    finish_axes(axes, title, x, result.unit, legend=8, log_x=True, log_y=positive)
