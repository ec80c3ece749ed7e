"""`lrsearch objectives`."""

from __future__ import annotations

import json

import click

from lrsearch.cli.columns import table
from lrsearch.cli.options import options
from lrsearch.objectives.builtin import BUILT_IN, check


@click.command()
@click.argument("name", required=False)
@options("json")
def objectives(name: str | None, as_json: bool) -> None:
    """List the built-in objectives, or the options of NAME.

    \b
    Examples:
      lrsearch objectives
      lrsearch objectives quadratic
    """
    if name is None:
        if as_json:
            click.echo(json.dumps({key: spec.about for key, spec in BUILT_IN.items()}))
        else:
            click.echo(table([(key, spec.about) for key, spec in BUILT_IN.items()]), nl=False)
        return
    defaults = check(name)
    spec = BUILT_IN[name]
    if as_json:
        click.echo(json.dumps({"about": spec.about, "options": defaults}))
        return
    click.echo(f"{spec.about}\n\nOptions, given as --with NAME=VALUE:\n")
    rows = [("option", "default", "allowed", "about")]
    rows += [
        (key, str(option.default), str(option.bound), option.about)
        for key, option in spec.options.items()
    ]
    click.echo(table(rows), nl=False)
