"""`lrsearch export`."""

from __future__ import annotations

from pathlib import Path

import click

from lrsearch.cli.options import options
from lrsearch.errors import RequestError
from lrsearch.export import FORMATS, to_csv, to_json, to_module
from lrsearch.schedule import Budget, Schedule


@click.command()
@click.argument("study")
@click.option("--to", "form", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("-o", "--output", metavar="FILE", help="Where to write it. Default: stdout.")
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="Default: the best one.")
@click.option(
    "--compared",
    is_flag=True,
    help="The schedule that the comparison chose, with its tuned peak.",
)
@options("steps", "batch")
@click.option(
    "--coupling",
    type=float,
    metavar="C",
    help="The peak of a study's schedule is multiplied by (batch/the study's batch)^C: 1 keeps "
    "the noise scale, 0.5 is for adaptive optimizers. Default: the schedule's own.",
)
@click.option("--ignore-batch", is_flag=True, help="Leave a growing batch to your data loader.")
@click.option(
    "--ignore-momentum", is_flag=True, help="Leave out a momentum that the framework cannot vary."
)
@options("storage")
def export(
    study: str,
    form: str,
    output: str | None,
    ignore_batch: bool,
    ignore_momentum: bool,
    **asked: object,
) -> None:
    """Carry a schedule of STUDY, or of a Schedule's .json file, to where it will run.

    json is the recipe and csv the table; torch, transformers, lightning, timm, optax and keras
    are Python files that need that framework alone.

    A study's schedule is drawn for the study's own budget unless --steps and --batch say
    otherwise. A .json file holds no budget: it needs --steps, and --batch where the batch grows.

    \b
    Examples:
      lrsearch export digits-default --compared --to torch -o schedule.py
      lrsearch export digits-default --to csv --steps 20000 --batch 256 --coupling 1
      lrsearch export schedule.json --to optax --steps 20000
    """
    schedule, budget = _find(study, **asked)  # type: ignore[arg-type]  # click has checked them
    if form == "json":
        text = to_json(schedule)
    else:
        plan = _checked_budget(schedule, *budget).plan(schedule)
        lost = {"ignore_batch": ignore_batch, "ignore_momentum": ignore_momentum}
        text = to_csv(plan) if form == "csv" else to_module(form, plan, schedule, **lost)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write {output}: {error.strerror}; check the path") from error


def _find(
    study: str,
    *,
    trial: int | None,
    compared: bool,
    steps: int | None,
    batch: int | None,
    coupling: float | None,
    storage: str | None,
) -> tuple[Schedule, tuple[int | None, int | None]]:
    """The schedule that the options choose, and the steps and the batch that are known."""
    if trial is not None and compared:
        raise RequestError("--trial and --compared choose one schedule each; keep one")
    if study.endswith(".json"):
        if trial is not None or compared:
            option = "--compared" if compared else "--trial"
            raise RequestError(f"{option} chooses a study's schedule; a .json file holds one")
        if coupling is not None:
            raise RequestError("--coupling scales from a study's batch; a .json file holds none")
        return Schedule.load(Path(study)), (steps, batch)

    from lrsearch import api

    result = api.load(study, storage=storage)
    own = result.budget
    if compared:
        if result.comparison is None:
            raise RequestError(f"study {study} is not compared; `lrsearch compare {study}` does")
        schedule = result.comparison.best.schedule
    else:
        schedule = result.best.schedule if trial is None else result.trial(trial).schedule
    if batch is not None and batch != own.batch:
        scaled = schedule.at_batch(batch, own.batch, coupling)
        note = (
            f"stays {schedule.peak:.4g} at batch {batch}, as at {own.batch}; --coupling 1 or 0.5 "
            "would scale it"
            if scaled == schedule
            else f"{schedule.peak:.4g} at the study's batch of {own.batch} becomes "
            f"{scaled.peak:.4g} at {batch}"
        )
        click.echo(f"lrsearch: the peak {note}", err=True)
        schedule = scaled
    elif coupling is not None:
        raise RequestError(f"--coupling scales to another batch; give --batch, not {own.batch}")
    return schedule, (own.steps if steps is None else steps, own.batch if batch is None else batch)


def _checked_budget(schedule: Schedule, steps: int | None, batch: int | None) -> Budget:
    if steps is None:
        raise RequestError("a .json schedule holds no budget; give --steps")
    if batch is None and schedule.batch_growth != 1.0:
        raise RequestError("this schedule's batch grows; give --batch, the samples it starts from")
    return Budget(steps=steps, batch=1 if batch is None else batch)
