"""Figures of schedules: the learning rate per step."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.stats import qmc

from lrsearch.ranges import Range
from lrsearch.schedule import Budget, Schedule
from lrsearch.seeding import DRAW, stream
from lrsearch.space import Space

#: Budget at which a space is drawn. A space that does not name the peak is drawn at peak 1.
STEPS, BATCH = 1000, 64


def finish_axes(
    axes: Axes,
    title: str,
    x: str,
    y: str,
    *,
    legend: int = 0,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """Set title, labels, scales and legend of axes, and hide their upper and right border.

    Args:
        axes: axes on which the curves are drawn.
        title: title above the axes.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        legend: font size of the legend; 0 for no legend.
        log_x: True for a logarithmic horizontal axis.
        log_y: True for a logarithmic vertical axis.
    """
    axes.set_title(title, fontsize=10, loc="left")
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    if log_x:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        if high < 100 * low:  # one, two and five of each decade; more labels overlap
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if log_y:
        axes.set_yscale("log")
    if legend:
        axes.legend(fontsize=legend, frameon=False)


def draw_schedules(schedules: Mapping[str, Schedule], steps: int, batch: int = 1) -> Figure:
    """Draw the learning rate of named schedules over one budget, and a growing batch size."""
    plans = {name: schedule.plan(steps, batch) for name, schedule in schedules.items()}
    growing = any((plan.batch != plan.batch[0]).any() for plan in plans.values())
    figure = Figure(figsize=(9.0 if growing else 6.0, 3.6), layout="constrained")
    panels = figure.subplots(1, 2 if growing else 1, squeeze=False)[0]
    for name, plan in plans.items():
        panels[0].plot(plan.lr, label=name, linewidth=1.4)
        if growing:
            panels[1].step(range(len(plan)), plan.batch, where="post", linewidth=1.4)
    finish_axes(panels[0], "Learning rate", "step", "learning rate")
    panels[0].set_ylim(bottom=0)
    if len(plans) > 1:
        panels[-1].legend(
            *panels[0].get_legend_handles_labels(),
            fontsize=7,
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
        )
    if growing:
        finish_axes(panels[1], "Batch size", "step", "samples per step")
    return figure


def draw_space(space: Space, samples: int) -> Figure:
    """Draw sample schedules, spread evenly over a space, and the default schedule.

    Raises:
        RequestError: a schedule of the space does not fit into the drawn budget.
    """
    drawn = space.with_defaults({"peak": 1.0, "momentum": 0.9})
    drawn.check_budget(Budget(steps=STEPS, batch=BATCH))
    peak = drawn.entries["peak"]
    if isinstance(peak, Range):
        drawn = drawn.with_entries({"peak": peak.middle})
    schedules = {"default": drawn.schedule(drawn.default_point())}
    names = list(drawn.free)
    if names:
        units = qmc.Sobol(len(names), rng=stream(0, DRAW)).random(samples).tolist()
        points = [drawn.at(dict(zip(names, unit, strict=True))) for unit in units]
        schedules |= {f"sample {i}": drawn.schedule(p) for i, p in enumerate(points, start=1)}
    figure = draw_schedules(schedules, STEPS, BATCH)
    figure.axes[0].set_title(f"Space {space.name}", fontsize=10, loc="left")
    return figure
