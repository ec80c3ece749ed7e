"""`lrsearch spaces` and `lrsearch objectives`."""

from __future__ import annotations

import click

from lrsearch.cli.options import options
from lrsearch.cli.output import say, table
from lrsearch.objectives.builtin import BUILT_IN, check
from lrsearch.space import Space, shipped_spaces

#: Number of schedules that `--plot` draws.
SAMPLES = 8


@click.command()
@click.argument("name", required=False)
@options("plot", "json")
def spaces(name: str | None, plot: str | None, as_json: bool) -> None:
    """List the search spaces, or print one: a shipped NAME or a YAML file.

    \b
    Examples:
      lrsearch spaces
      lrsearch spaces spline --plot spline.png
    """
    if name is None:
        if plot is not None:
            raise click.UsageError(
                "--plot draws one space; name it: lrsearch spaces NAME --plot FILE"
            )
        known = [Space.load(each) for each in shipped_spaces()]
        rows = {s.name: {"about": s.about, "dimension": len(s.free)} for s in known}
        lines = [(s.name, str(len(s.free)), s.about) for s in known]
        say(as_json, rows, table([("space", "free", "about"), *lines], right=[1]))
        return
    space = Space.load(name)
    if plot is not None:
        from lrsearch.report.files import write
        from lrsearch.report.schedule_figure import draw_space

        write(draw_space(space, SAMPLES), plot)
    say(as_json, {"about": space.about, **space.to_dict()}, space.to_yaml())


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
        abouts = {key: spec.about for key, spec in BUILT_IN.items()}
        say(as_json, abouts, table(list(abouts.items())))
        return
    defaults = check(name)
    spec = BUILT_IN[name]
    rows = [("option", "default", "allowed", "about")]
    rows += [
        (key, str(option.default), str(option.bound), option.about)
        for key, option in spec.options.items()
    ]
    text = f"{spec.about}\n\nOptions, given as --with NAME=VALUE:\n\n{table(rows)}"
    say(as_json, {"about": spec.about, "options": defaults}, text)
