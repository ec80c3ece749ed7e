"""`lrsearch status`, `lrsearch repair` and `lrsearch doctor`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lrsearch import maintenance
from lrsearch.cli.options import options
from lrsearch.cli.output import echo, say, table
from lrsearch.cli.wording import as_options
from lrsearch.errors import RequestError, SearchFailed

if TYPE_CHECKING:
    from lrsearch.study.status import StudyStatus

HEADINGS = (
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
    """Show the state of studies: trials, live workers, last change.

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
        echo(json.dumps([each.to_dict() for each in found]))
        return
    if not found:
        echo("no studies here; `lrsearch tune` creates one")
        return
    echo(table([HEADINGS, *map(_row, found)], right=range(1, 8)), nl=False)
    for each in found:
        if each.trouble:
            echo(f"{each.study}: {as_options(each.trouble)}")
        if study is not None:
            _detail(each)


def _row(each: StudyStatus) -> tuple[str, ...]:
    if each.trouble:
        return (each.study, *["-"] * 7, "cannot be read")
    best = "" if each.best is None else f"{each.best:.4g}"
    here = (str(len(each.running)), str(len(each.workers)), best, _ago(each.changed))
    return (each.study, *map(str, each.trials.values()), *here)


def _detail(each: StudyStatus) -> None:
    for worker in each.workers:
        echo(f"worker {worker.pid} on {worker.host.split()[0]}, since {worker.since}")
    orphans = f"{_trials(each.orphans)}; the next search runs them again"
    for happened, line in (
        (each.running, f"running: {_trials(each.running)}"),
        (each.orphans, f"interrupted with their process: {orphans}"),
        (each.lost, f"retried so far: {each.lost}"),
        (each.compared, "compared on fresh seeds"),
    ):
        if happened:
            echo(line)


def _trials(indices: tuple[int, ...]) -> str:
    return f"trial{'s' * (len(indices) > 1)} {', '.join(map(str, indices))}"


def _ago(moment: datetime | None) -> str:
    """Return how long ago a moment was, in the largest unit that fits twice."""
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
    """Remove damaged records from STUDY's journal; the old file is kept under another name.

    Every record has a checksum, so damage is detected exactly. An incomplete last line needs no
    repair: the next search removes it.

    \b
    Examples:
      lrsearch repair digits-default
    """
    done = maintenance.repair(study, storage=storage)
    if done.aside is None:
        echo(f"{study} is intact: {done.lines} records, {done.trials} trials")
        return
    echo(f"removed {done.damaged} damaged of {done.lines} records; the old file is {done.aside}")
    shown = ", ".join(map(str, done.lost[:10])) + (", …" if len(done.lost) > 10 else "")
    again = f"; the next search runs trial {shown} again" if done.lost else ""
    echo(f"{study} has {done.trials} trials{again}")


@click.command()
@options("storage", "tracking_uri", "json")
def doctor(storage: str | None, tracking_uri: str | None, as_json: bool) -> None:
    """Check this installation: versions, device, storage, tracking, free disk space.

    \b
    Examples:
      lrsearch doctor
      lrsearch doctor --tracking-uri http://mlflow.example.com
    """
    checks = maintenance.examine(storage=storage, tracking_uri=tracking_uri)
    rows = {c.name: {"sound": c.sound, "found": c.found} for c in checks}
    say(
        as_json,
        rows,
        table([("ok" if c.sound else "NO", c.name, as_options(c.found)) for c in checks]),
    )
    wrong = [check.name for check in checks if not check.sound]
    if wrong:
        raise SearchFailed(f"failed check: {', '.join(wrong)}; see the lines above")
