"""Pictures and pages of a study, drawn and written to files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from lrsearch.errors import RequestError
from lrsearch.report.page import draw_page
from lrsearch.report.study import draw_study
from lrsearch.result import Result

__all__ = ["plot", "write", "write_report"]

FORMATS = (".png", ".svg", ".pdf")


def write(figure: Figure, path: str) -> None:
    """Writes a figure in the format of its file's ending.

    Raises:
        RequestError: the ending is unknown, or the file cannot be written.
    """
    if Path(path).suffix not in FORMATS:
        raise RequestError(f"cannot draw {path!r}; end its name in {', '.join(FORMATS)}")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; check the path") from error


def plot(result: Result, path: str | Path | None = None) -> Figure:
    """A study in one picture.

    The best schedules, the value by trial, the value by peak; and of a study that is confirmed
    its schedules beside the baselines, their losses, the value by peak of each, what mattered.

    Args:
        result: from `tune` or `load`.
        path: where to write it, ending in .png, .svg or .pdf; None only draws.

    Returns:
        a figure of matplotlib, which notebooks show.

    Raises:
        NothingFinished: there is nothing to draw.
        RequestError: the file cannot be written.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> figure = lrsearch.plot(result, "study.png")
    """
    figure = draw_study(result)
    if path is not None:
        write(figure, str(path))
    return figure


def write_report(result: Result, path: str | Path) -> None:
    """A study as one self-contained HTML file: the answer, the table, the pictures.

    Args:
        result: from `tune` or `load`.
        path: where to write it.

    Raises:
        NothingFinished: there is nothing to report.
        RequestError: the file cannot be written.
    """
    try:
        Path(path).write_text(draw_page(result, draw_study(result)), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; check the path") from error
