"""Pictures and pages of a study, drawn and written to files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from lrsearch.errors import RequestError
from lrsearch.report.diagnostic_figure import draw_diagnostic
from lrsearch.report.page import draw_page
from lrsearch.report.study_figure import draw_study
from lrsearch.result import Result

FORMATS = (".png", ".svg", ".pdf")


def check_path(path: str) -> None:
    """Checks that a picture can have this name.

    Raises:
        RequestError: its ending is unknown.
    """
    if Path(path).suffix not in FORMATS:
        raise RequestError(f"cannot draw {path!r}; end its name in {', '.join(FORMATS)}")


def write(figure: Figure, path: str) -> None:
    """Writes a figure in the format of its file's ending.

    Raises:
        RequestError: the ending is unknown, or the file cannot be written.
    """
    check_path(path)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; check the path") from error


def plot(result: Result, path: str | Path | None = None) -> Figure:
    """A study in one picture.

    The best schedules, the value by trial, the value by peak; and of a study that is compared
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


def write_study(result: Result, folder: Path) -> list[Path]:
    """The pictures of a study: `study.png`, and what its runs did at the edge of stability.

    Args:
        result: of the study.
        folder: where to write them.

    Raises:
        NothingFinished: there is nothing to draw.
        RequestError: a file cannot be written.
    """
    pictures = {folder / "study.png": draw_study(result)}
    name = "stability_ratio"
    measured = [trial for trial in result.ranked if name in trial.diagnostics]
    if any(name in outcome.traces for trial in measured for outcome in trial.outcomes):
        pictures[folder / f"{name}.png"] = draw_diagnostic(result, name, measured, None)
    for path, figure in pictures.items():
        write(figure, str(path))
    return list(pictures)
