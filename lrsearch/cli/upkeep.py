"""`lrsearch status`, `lrsearch repair` and `lrsearch doctor`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lrsearch import maintenance
from lrsearch.cli.options import options
from lrsearch.cli.output import say, table
from lrsearch.errors import RequestError, SearchFailed

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
    orphans = f"{_trials(standing.orphans)}, which the next search begins again"
    for happened, line in (
        (standing.running, f"running: {_trials(standing.running)}"),
        (standing.orphans, f"lost with their process: {orphans}"),
        (standing.lost, f"begun again so far: {standing.lost}"),
        (standing.compared, "compared on fresh seeds"),
    ):
        if happened:
            click.echo(line)


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


@click.command()
@click.argument("study")
@options("storage")
def repair(study: str, storage: str | None) -> None:
    """Keep what is sound of STUDY's journal, and set the damaged file aside.

    Every record carries a checksum, so that what is kept is what was written. A torn last line
    needs no repair: the next search cuts it off.

    \b
    Examples:
      lrsearch repair digits-default
    """
    done = maintenance.repair(study, storage=storage)
    if done.aside is None:
        click.echo(f"{study} is sound: {done.lines} records, {done.trials} trials")
        return
    click.echo(f"damaged: {done.damaged} of {done.lines} records; the old file is {done.aside}")
    shown = ", ".join(map(str, done.lost[:10])) + (", …" if len(done.lost) > 10 else "")
    again = f"; the next search measures trial {shown} again" if done.lost else ""
    click.echo(f"{study} has {done.trials} trials{again}")


@click.command()
@options("storage", "tracking_uri", "json")
def doctor(storage: str | None, tracking_uri: str | None, as_json: bool) -> None:
    """Examine this installation: versions, device, storage, tracking, room on the disk.

    \b
    Examples:
      lrsearch doctor
      lrsearch doctor --tracking-uri http://mlflow.example.com
    """
    checks = maintenance.examine(storage=storage, tracking_uri=tracking_uri)
    rows = {c.name: {"sound": c.sound, "found": c.found} for c in checks}
    say(as_json, rows, table([("ok" if c.sound else "NO", c.name, c.found) for c in checks]))
    wrong = [check.name for check in checks if not check.sound]
    if wrong:
        raise SearchFailed(f"not as it must be: {', '.join(wrong)}; see the lines above")
