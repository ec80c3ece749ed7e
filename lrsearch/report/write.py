"""Writes a figure to a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from lrsearch.errors import RequestError

__all__ = ["write"]

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
