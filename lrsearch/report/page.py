"""A study as a self-contained HTML file: no scripts, no network access, embedded figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure

from lrsearch.answer import answer_of
from lrsearch.result import Result

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; color: #222 }
h1 { font-size: 1.3em } .answer { font-size: 1.15em; margin: 1em 0 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .25em .8em; text-align: left }
th { border-bottom: 1px solid #888; font-weight: 600 } .chosen td { font-weight: 600 }
img { max-width: 100% } code, pre { background: #f4f4f4; padding: .15em .3em }
pre { padding: .8em; white-space: pre-wrap } .small { color: #666; font-size: .9em }
"""


def draw_page(result: Result, figure: Figure) -> str:
    """Return the HTML of a study.

    Args:
        result: result of the study.
        figure: figure that is shown below the text.

    Raises:
        NothingFinished: no trial finished.
    """
    answer = answer_of(result)
    parts = [
        f"<h1>{escape(result.study)}</h1>",
        f'<p class="answer">{escape(answer.sentence)}</p>',
    ]
    if answer.rows:
        noise = ". The 95 % intervals are Student's t intervals."
        how = f"Comparison: {answer.how}{noise if answer.secondary else '.'}"
        parts += [_table(answer.rows), f'<p class="small">{escape(how)}</p>']
    parts += [f'<p class="small">{escape(remark)}</p>' for remark in answer.remarks]
    if answer.secondary:
        summary = "<details><summary>Medians and bootstrap intervals</summary>"
        parts += [summary, _table(answer.secondary), "</details>"]
    parts += [
        f"<p>The recommended schedule:</p><pre>{escape(repr(answer.schedule))}</pre>",
        f'<p class="small">Objective {escape(result.objective)}, space {escape(result.space)}, '
        f"{result.budget.steps} steps, first batch size {result.budget.batch}. "
        f"Trials: {answer.counts}. {escape(answer.luck)}</p>",
        _image(figure),
        f"<pre>{escape(answer.export)}</pre>",
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{escape(result.study)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    marks = ["", *(' class="chosen"' * row[0].endswith(" *") for row in body)]
    text = "\n".join(f"<tr{m}>{line}</tr>" for m, line in zip(marks, lines, strict=True))
    return f"<table>\n{text}\n</table>"


def _image(figure: Figure) -> str:
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=110)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(raw.getvalue()).decode()}">'
