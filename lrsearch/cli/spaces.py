"""`lrsearch spaces`."""

from __future__ import annotations

import json

import click

from lrsearch.cli.columns import table
from lrsearch.cli.options import options
from lrsearch.space import Space, shipped_spaces

#: Schedules that `--plot` draws.
SAMPLES = 8


@click.command()
@click.argument("name", required=False)
@options("plot", "json")
def spaces(name: str | None, plot: str | None, as_json: bool) -> None:
    """List the search spaces, or print NAME, a shipped space or a YAML file.

    \b
    Examples:
      lrsearch spaces
      lrsearch spaces spline --plot spline.png
    """
    if name is None:
        if plot is not None:
            raise click.UsageError("--plot draws one space; name it: lrsearch spaces NAME --plot")
        known = [Space.load(each) for each in shipped_spaces()]
        if as_json:
            rows = {s.name: {"about": s.about, "dimension": len(s.free)} for s in known}
            click.echo(json.dumps(rows))
        else:
            lines = [(s.name, str(len(s.free)), s.about) for s in known]
            click.echo(table([("space", "free", "about"), *lines], right=[1]), nl=False)
        return
    space = Space.load(name)
    if plot is not None:
        from lrsearch.report.files import write
        from lrsearch.report.schedule_figure import draw_space

        write(draw_space(space, SAMPLES), plot)
    if as_json:
        click.echo(json.dumps({"about": space.about, **space.to_dict()}))
    else:
        click.echo(space.to_yaml(), nl=False)
