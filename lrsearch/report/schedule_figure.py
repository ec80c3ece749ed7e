"""Schedules as curves of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import qmc

from lrsearch.ranges import Range
from lrsearch.schedule import Budget, Schedule
from lrsearch.seeding import DRAW, stream
from lrsearch.space import Space

#: A space is drawn at this budget, and at peak 1 where it leaves the peak open.
STEPS, BATCH = 1000, 64


def finish_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Titles, and no more lines than are read."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def draw_schedules(schedules: Mapping[str, Schedule], steps: int, batch: int = 1) -> Figure:
    """The learning rate of named schedules over the same budget; a growing batch beside it."""
    plans = {name: schedule.plan(steps, batch) for name, schedule in schedules.items()}
    growing = any((plan.batch != plan.batch[0]).any() for plan in plans.values())
    figure = Figure(figsize=(9.0 if growing else 6.0, 3.6), layout="constrained")
    panels = figure.subplots(1, 2 if growing else 1, squeeze=False)[0]
    for name, plan in plans.items():
        panels[0].plot(plan.lr, label=name, linewidth=1.4)
        if growing:
            panels[1].step(range(len(plan)), plan.batch, where="post", linewidth=1.4)
    finish_axes(panels[0], "learning rate", "update", "learning rate")
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
        finish_axes(panels[1], "batch", "update", "samples an update")
    return figure


def draw_space(space: Space, samples: int) -> Figure:
    """Sample schedules of a space, spread evenly over it, and the one of habit.

    Raises:
        RequestError: the space reaches too far for the budget that is drawn.
    """
    drawn = space.with_defaults({"peak": 1.0, "momentum": 0.9})
    drawn.check_budget(Budget(steps=STEPS, batch=BATCH))
    peak = drawn.entries["peak"]
    if isinstance(peak, Range):
        drawn = drawn.with_entries({"peak": peak.middle})
    schedules = {"habit": drawn.schedule(drawn.habit())}
    names = list(drawn.free)
    if names:
        sobol = qmc.Sobol(len(names), rng=stream(0, DRAW))
        for i, unit in enumerate(sobol.random(samples)):
            point = drawn.at(dict(zip(names, unit.tolist(), strict=True)))
            schedules[f"sample {i + 1}"] = drawn.schedule(point)
    figure = draw_schedules(schedules, STEPS, BATCH)
    figure.axes[0].set_title(f"space {space.name}", fontsize=10, loc="left")
    return figure
