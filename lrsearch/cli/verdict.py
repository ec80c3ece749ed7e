"""A comparison as text for people."""

from __future__ import annotations

import textwrap

from lrsearch.cli.columns import table
from lrsearch.comparison import Comparison

__all__ = ["describe_comparison"]

WIDTH = 100


def describe_comparison(found: Comparison) -> str:
    """The sentence, the table, and what a reader should know beside them."""
    rows = found.rows
    if found.exact:  # neither intervals nor seeds
        rows = [(name, value, minus, verdict) for name, value, _, minus, _, verdict, _ in rows]
        how = f"exact; the best {found.candidates} considered"
    else:
        how = f"{found.seeds} fresh seeds; the best {found.candidates} considered"
    lines = [textwrap.fill(found.sentence, WIDTH), "", table(rows).rstrip(), ""]
    peaks = len(found.best.peaks)
    lines.append(f"({how}; every peak tuned on {peaks} points; * the best baseline)")
    lines += [textwrap.fill(remark, WIDTH, subsequent_indent="  ") for remark in found.remarks]
    return "\n".join(lines) + "\n"
