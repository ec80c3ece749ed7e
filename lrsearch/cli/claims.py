"""`lrsearch claims`."""

from __future__ import annotations

import itertools
import json
import textwrap

import click

from lrsearch.claims.catalog import CLAIMS, Claim, find
from lrsearch.cli.options import options
from lrsearch.cli.output import echo, table
from lrsearch.finding import Finding

WIDTH = 100


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@options("plot", "json")
def claims(ids: tuple[str, ...], plot: str | None, as_json: bool) -> None:
    """Test statements of a textbook chapter about schedules; name some by ID, or run all.

    Each statement is an experiment. Its verdict is computed from the run: "holds", "holds if" or
    "does not hold as written". All sixteen take about ten seconds.

    \b
    Examples:
      lrsearch claims
      lrsearch claims energy flatness
      lrsearch claims restarts --plot restarts.png
    """
    chosen = [find(name) for name in dict.fromkeys(ids or CLAIMS)]
    if plot is not None:
        from lrsearch.report.files import check_path

        check_path(plot)  # before the experiments run
    findings = {}
    for claim in chosen:
        findings[claim.id] = claim.run()
        if not as_json:
            echo(describe(claim, findings[claim.id]))
    if as_json:
        records = [_record(claim, findings[claim.id]) for claim in chosen]
        echo(json.dumps(records, allow_nan=False))
    if plot is not None:
        from lrsearch.report.claim_figure import draw_panels
        from lrsearch.report.files import write

        write(draw_panels({name: finding.panels for name, finding in findings.items()}), plot)


def describe(claim: Claim, finding: Finding) -> str:
    """Return a claim as text: the verdict, the statement, where it holds, the figures."""
    rows = [
        (label, case)
        for label, mark in (("holds", True), ("not", False))
        for case, true in finding.cases.items()
        if true is mark
    ]
    rows += [
        ("besides", f"{'true' if true else 'not true'}: {variant}")
        for variant, true in finding.variants.items()
    ]
    lines = [f"{claim.id}: {finding.verdict}", *_filled("  ", "  ", claim.statement)]
    for (last, _), (label, text) in itertools.pairwise([("", ""), *rows]):
        lines += _filled(f"  {'' if label == last else label:<9}", " " * 13, text)
    lines += [
        f"  {'' if i else 'figures':<9}{line}".rstrip()
        for i, line in enumerate(_figures(finding).splitlines())
    ]
    lines += _filled(f"  {'source':<9}", " " * 13, claim.source)
    return "\n".join(lines) + "\n"


def _filled(first: str, rest: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)


def _figures(finding: Finding) -> str:
    """Return one figure per row, with its interval if it has one."""
    rows = []
    for name, value in finding.figures.items():
        if not isinstance(value, tuple):
            beside = finding.figures.get(f"{name}_interval")
            rows.append((name, f"{value:.4g}", _interval(beside)))
        elif name.removesuffix("_interval") not in finding.figures:
            rows.append((name, "", _interval(value)))
    return table(rows, right=[1]) if rows else ""


def _interval(value: object) -> str:
    return f"[{value[0]:.4g}, {value[1]:.4g}]" if isinstance(value, tuple) else ""


def _record(claim: Claim, finding: Finding) -> dict[str, object]:
    return {
        "id": claim.id,
        "statement": claim.statement,
        "verdict": finding.verdict,
        "figures": dict(finding.figures),
        "source": claim.source,
    }
