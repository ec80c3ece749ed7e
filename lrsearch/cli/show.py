"""`lrsearch show`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lrsearch.cli.describe import describe_ranking, describe_result, leaderboard, spark
from lrsearch.cli.options import options
from lrsearch.cli.output import echo, say, table
from lrsearch.diagnostics.ranking import Ranking, rank_by
from lrsearch.errors import RequestError
from lrsearch.result import Result
from lrsearch.schedule import Schedule


@click.command()
@click.argument("study")
@options("top", "sort", "plot", "html", "steps", "batch", "storage", "json")
def show(
    study: str,
    top: int,
    sort: str | None,
    plot: str | None,
    html: str | None,
    steps: int | None,
    batch: int | None,
    storage: str | None,
    as_json: bool,
) -> None:
    """Show the leaderboard of STUDY, or a Schedule from a .json file.

    \b
    Examples:
      lrsearch show digits-default --plot digits.png
      lrsearch show digits-default --html report.html
      lrsearch show digits-default --sort sharpness --plot sharpness.png
      lrsearch show schedule.json --steps 2000
    """
    if study.endswith(".json"):
        if sort is not None:
            raise RequestError("--sort needs a study; a Schedule file has no diagnostics")
        schedule = Schedule.load(Path(study))
        budget = (1000 if steps is None else steps, 1 if batch is None else batch)
        _show_schedule(schedule, *budget, plot, as_json)
        return

    from lrsearch import api

    if sort is not None and as_json:
        raise RequestError(
            "--sort affects the table and the plot only; leave out --json or --sort"
        )
    result = api.load(study, storage=storage)
    ranking = None if sort is None else rank_by(result, sort)
    _draw(result, ranking, plot, html)
    if as_json:
        echo(json.dumps(result.to_dict()))
    elif ranking is not None:
        echo(leaderboard(result, top, ranking) + describe_ranking(result, ranking), nl=False)
    elif not result.ranked:
        _ = result.best  # raises NothingFinished with the reason
    else:
        echo(f"{leaderboard(result, top)}\n{describe_result(result)}", nl=False)


def _draw(result: Result, ranking: Ranking | None, plot: str | None, html: str | None) -> None:
    """Write the requested files."""
    if plot is None and html is None:
        return
    from lrsearch.report import files

    if plot is not None and ranking is not None:
        from lrsearch.report.diagnostic_figure import draw_diagnostic

        shown = (ranking.name, ranking.trials, ranking.correlation)
        files.write(draw_diagnostic(result, *shown), plot)
    elif plot is not None:
        files.plot(result, plot)
    if html is not None:
        files.write_report(result, html)


def _show_schedule(
    schedule: Schedule, steps: int, batch: int, plot: str | None, as_json: bool
) -> None:
    plan = schedule.plan(steps, batch)
    if plot is not None:
        from lrsearch.report.files import write
        from lrsearch.report.schedule_figure import draw_schedules

        write(draw_schedules({"schedule": schedule}, steps, batch), plot)
    rows = [(name, str(value)) for name, value in schedule.to_dict(defaults=False).items()]
    say(as_json, schedule.to_dict(), f"{table(rows)}\n0 {spark(plan)} {len(plan)}\n")
