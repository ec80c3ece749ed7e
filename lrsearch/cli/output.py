"""Output of commands: JSON, or text in aligned columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click

from lrsearch.errors import printable


def say(as_json: bool, record: object, text: str) -> None:
    """Print a record as JSON, or the text that says the same to people."""
    echo(json.dumps(record) if as_json else text, nl=as_json)


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print a text without the control characters that a terminal would execute.

    Args:
        text: the text, which may contain names and messages of a study from a stranger.
        nl: True to end it with a line break.
        err: True to print it on stderr.
    """
    click.echo(printable(text), nl=nl, err=err)


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return rows as aligned columns.

    Args:
        rows: cells; all rows have the same number.
        right: indices of the columns that are aligned to the right.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    aligned = set(right)
    lines = [
        "  ".join(
            cell.rjust(width) if i in aligned else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"
