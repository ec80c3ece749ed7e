"""A figure of the panels of one or several experiments."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lrsearch.errors import RequestError
from lrsearch.finding import Line, Panel
from lrsearch.report.schedule_figure import finish_axes

#: Largest number of panels in a row if several experiments share a figure, and the size of a panel
#: in inches.
COLUMNS = 4
WIDTH, HEIGHT = 4.4, 3.3


def draw_panels(panels: Mapping[str, tuple[Panel, ...]]) -> Figure:
    """Draw the panels of one experiment in a row, or those of several in a grid.

    Args:
        panels: panels by the name of their experiment.

    Raises:
        RequestError: there are no panels.
    """
    drawn = [(name, panel) for name, each in panels.items() for panel in each]
    if not drawn:
        raise RequestError(
            "these experiments have no panels to draw; choose an experiment with panels"
        )
    columns = len(drawn) if len(panels) == 1 else min(COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, (name, panel) in zip(axes, drawn, strict=False):
        _draw(place, panel, panel.title if len(panels) == 1 else f"{name}\n{panel.title}")
    for place in axes[len(drawn) :]:
        place.set_axis_off()
    if len(panels) == 1:
        figure.suptitle(drawn[0][0], fontsize=11)
    return figure


def _draw(axes: Axes, panel: Panel, title: str) -> None:
    for line in panel.lines:
        _draw_line(axes, line)
    legend = 7 if len([line for line in panel.lines if line.label]) > 1 else 0
    scales = {"log_x": panel.log_x, "log_y": panel.log_y}
    finish_axes(axes, title, panel.x, panel.y, legend=legend, **scales)
    if panel.log_x:
        axes.xaxis.set_minor_formatter(NullFormatter())  # minor labels would overlap


def _draw_line(axes: Axes, line: Line) -> None:
    """Draw a line of a panel; points without a label are grey, as part of the previous curve."""
    if line.style == "points":
        label, colour = (line.label, None) if line.label else ("_nolegend_", "0.3")
        axes.plot(line.x, line.y, ".", label=label, color=colour, markersize=5, alpha=0.8)
        return
    marker = "." if line.style == "band" else None
    drawn = axes.plot(line.x, line.y, label=line.label, linewidth=1.4, marker=marker)
    if line.style == "band":
        axes.fill_between(
            line.x, line.low, line.high, color=drawn[0].get_color(), alpha=0.25, linewidth=0
        )
