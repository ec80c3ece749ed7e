"""Figures and HTML reports of a study, written to files."""

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
    """Check that figures can be written to a path.

    Raises:
        RequestError: the extension of the file is not supported.
    """
    if Path(path).suffix not in FORMATS:
        raise RequestError(f"cannot draw {path!r}; use a name that ends in {', '.join(FORMATS)}")


def write(figure: Figure, path: str) -> None:
    """Write a figure in the format of the file's extension.

    Raises:
        RequestError: the extension is not supported, or the file cannot be written.
    """
    check_path(path)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; check the path") from error


def plot(result: Result, path: str | Path | None = None) -> Figure:
    """Draw a study.

    The figure shows the best schedules, the value vs. trial and the value vs. peak learning rate.
    For a compared study it also shows the searched schedule and the baselines, their training
    losses, their values vs. peak, and the importance of the fields.

    Args:
        result: result of `tune` or `load`.
        path: file to write, with extension .png, .svg or .pdf; None to write no file.

    Returns:
        A matplotlib figure, which notebooks display.

    Raises:
        NothingFinished: no trial finished.
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
    """Write a study as one self-contained HTML file: the answer, the tables, the figure.

    Args:
        result: result of `tune` or `load`.
        path: file to write.

    Raises:
        NothingFinished: no trial finished.
        RequestError: the file cannot be written.
    """
    try:
        Path(path).write_text(draw_page(result, draw_study(result)), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; check the path") from error


def write_study(result: Result, folder: Path) -> list[Path]:
    """Write the figures of a study: `study.png`, and `stability_ratio.png` if it was measured.

    Args:
        result: result of the study.
        folder: folder in which the files are written.

    Returns:
        The paths of the files.

    Raises:
        NothingFinished: no trial finished.
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
