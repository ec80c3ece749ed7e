"""`lrsearch status`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lrsearch.cli.columns import table
from lrsearch.cli.options import options
from lrsearch.errors import RequestError

if TYPE_CHECKING:
    from lrsearch.study.status import StudyStatus

HEAD = (
    "study",
    "finished",
    "diverged",
    "pruned",
    "failed",
    "running",
    "workers",
    "best",
    "changed",
)


@click.command()
@click.argument("study", required=False)
@options("storage", "json")
def status(study: str | None, storage: str | None, as_json: bool) -> None:
    """Show where studies stand: trials by state, workers alive, last change.

    \b
    Examples:
      lrsearch status
      lrsearch status digits-default --json
    """
    from lrsearch import maintenance

    found = maintenance.status(study, storage=storage)
    error = found[0].trouble if study is not None else ""
    if error:
        raise RequestError(f"{error}")
    if as_json:
        click.echo(json.dumps([standing.to_dict() for standing in found]))
        return
    if not found:
        click.echo("no studies here; `lrsearch tune` makes one")
        return
    click.echo(table([HEAD, *map(_row, found)], right=range(1, 8)), nl=False)
    for standing in found:
        if standing.trouble:
            click.echo(f"{standing.study}: {standing.trouble}")
        if study is not None:
            _detail(standing)


def _row(standing: StudyStatus) -> tuple[str, ...]:
    if standing.trouble:
        return (standing.study, *["-"] * 7, "cannot be read")
    best = "" if standing.best is None else f"{standing.best:.6g}"
    here = (str(len(standing.running)), str(len(standing.workers)), best, _ago(standing.changed))
    return (standing.study, *map(str, standing.trials.values()), *here)


def _detail(standing: StudyStatus) -> None:
    for worker in standing.workers:
        click.echo(f"worker {worker.pid} on {worker.host.split()[0]}, since {worker.since}")
    if standing.running:
        click.echo(f"running: {_trials(standing.running)}")
    if standing.orphans:
        click.echo(
            f"lost with their process: {_trials(standing.orphans)}, which the next search begins "
            "again"
        )
    if standing.lost:
        click.echo(f"begun again so far: {standing.lost}")
    if standing.compared:
        click.echo("compared on fresh seeds")


def _trials(indices: tuple[int, ...]) -> str:
    return f"trial{'s' * (len(indices) > 1)} {', '.join(map(str, indices))}"


def _ago(moment: datetime | None) -> str:
    """How long ago, in the unit that suits it."""
    if moment is None:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
