"""`lrsearch export`."""

from __future__ import annotations

from pathlib import Path

import click

from lrsearch.cli.options import options
from lrsearch.errors import RequestError
from lrsearch.export import FORMATS, to_csv, to_json
from lrsearch.schedule import Schedule

__all__ = ["export"]


@click.command()
@click.argument("study")
@click.option("--to", "form", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("-o", "--output", metavar="FILE", help="Where to write it. Default: stdout.")
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="Default: the best one.")
@options("steps", "batch", "storage")
def export(
    study: str,
    form: str,
    output: str | None,
    trial: int | None,
    steps: int | None,
    batch: int | None,
    storage: str | None,
) -> None:
    """Carry a schedule of STUDY, or of a Schedule's .json file, to where it will run.

    A study's schedule is drawn for the study's own budget unless --steps and --batch say
    otherwise. A .json file holds no budget: it needs --steps, and --batch where the batch grows.

    \b
    Examples:
      lrsearch export digits-default --to csv -o schedule.csv
      lrsearch export schedule.json --to csv --steps 20000 --batch 256
    """
    momentum = 0.0
    if study.endswith(".json"):
        if trial is not None:
            raise RequestError("--trial chooses among a study's trials; a .json file holds one")
        schedule = Schedule.load(Path(study))
    else:
        from lrsearch import api

        result = api.load(study, storage=storage)
        schedule = result.trial(trial).schedule if trial is not None else result.best.schedule
        steps = result.steps if steps is None else steps
        batch = result.batch if batch is None else batch
        momentum = result.momentum
    text = to_json(schedule) if form == "json" else _table(schedule, steps, batch, momentum)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write {output}: {error.strerror}; check the path") from error


def _table(schedule: Schedule, steps: int | None, batch: int | None, momentum: float) -> str:
    if steps is None:
        raise RequestError("a .json schedule holds no budget; give --steps")
    if batch is None and schedule.batch_growth != 1.0:
        raise RequestError("this schedule's batch grows; give --batch, the samples it starts from")
    return to_csv(schedule, steps, 1 if batch is None else batch, momentum=momentum)
