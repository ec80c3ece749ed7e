"""`lrsearch compare`."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import click

from lrsearch.cli.options import WORKFORCE, options, read_workforce
from lrsearch.cli.progress import Progress
from lrsearch.cli.verdict import describe_comparison

__all__ = ["compare"]


@click.command()
@click.argument("study")
@options("objective")
@click.option(
    "--top",
    default=5,
    show_default=True,
    metavar="K",
    envvar="LRSEARCH_COMPARE_TOP",
    help="How many of the best trials compete.",
)
@click.option(
    "--seeds",
    default=10,
    show_default=True,
    metavar="N",
    envvar="LRSEARCH_COMPARE_SEEDS",
    help="Fresh seeds of the selection, and as many of the report.",
)
@options("grid", "against")
@options("device", *WORKFORCE)
@options("storage", "tracking_uri", "json", "quiet")
def compare(
    study: str,
    objective: str | None,
    top: int,
    seeds: int,
    grid: int,
    against: tuple[str, ...],
    device: str,
    storage: str | None,
    tracking_uri: str | None,
    as_json: bool,
    quiet: bool,
    **placing: Any,
) -> None:
    """Hold the best schedules of STUDY against baselines, on fresh seeds.

    The peak of each, the searched one's too, is tuned on the same grid with the same selection
    seeds, and what is reported comes from other seeds. What has been measured is kept: the same
    command again answers at once, and more --seeds run only the new ones.

    \b
    Examples:
      lrsearch compare digits-default
      lrsearch compare digits-default --top 10 --seeds 28 --against cosine --against today.json
      lrsearch compare small_gpt-cosine --objective train.py:small_gpt
    """
    from lrsearch import api

    with Progress(quiet=quiet) as progress, contextlib.redirect_stdout(sys.stderr):
        found = api.compare(
            study,
            objective=objective,
            top=top,
            seeds=seeds,
            grid=grid,
            against=against,
            device=device,
            workers=read_workforce(placing),
            storage=storage,
            tracking_uri=tracking_uri,
            callback=progress,
        )
    if as_json:
        click.echo(json.dumps(api.load(study, storage=storage).to_dict()))
    else:
        click.echo(describe_comparison(found), nl=False)
