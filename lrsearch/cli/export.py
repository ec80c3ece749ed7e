"""`lrsearch export`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from lrsearch.baselines import BASELINES
from lrsearch.cli.options import options
from lrsearch.cli.output import echo
from lrsearch.contender import CURRENT_TUNED
from lrsearch.errors import RequestError
from lrsearch.export import FORMATS, to_csv, to_flags, to_json, to_module, to_python
from lrsearch.objectives.placeholders import carried, used
from lrsearch.schedule import Budget, Schedule
from lrsearch.study.location import storage_option


@click.command()
@click.argument("study")
@click.option("--to", "form", type=click.Choice(FORMATS), required=True, help="Output format.")
@click.option("-o", "--output", metavar="FILE", help="File to write. Default: stdout.")
@click.option(
    "--schedule",
    "name",
    metavar="NAME",
    help="Which schedule: recommended (default), searched, current, default, a baseline of the "
    "comparison such as cosine, or trial:N.",
)
@options("steps", "batch")
@click.option(
    "--coupling",
    type=float,
    metavar="C",
    help="Multiply the peak by (B / the study's batch)^C when --batch differs: 1 keeps the noise "
    "scale lr/B, 0.5 suits adaptive optimizers. Default: the schedule's own coupling.",
)
@click.option(
    "--ignore-batch",
    is_flag=True,
    help="Export the rates of a growing batch; your data loader grows the batch.",
)
@click.option(
    "--ignore-momentum",
    is_flag=True,
    help="Export without a varying momentum that the framework cannot set.",
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
    """Export a schedule of STUDY, or of a Schedule's .json file, to a training framework.

    json writes the schedule as fractions, for any number of steps; csv writes the learning rate
    of every step. python writes a function get_lr(step) without imports; flags writes the command
    line of a study that ran a command. torch, transformers, lightning, timm, optax and keras write
    a Python file that imports only that framework.

    The recommended schedule of STUDY is exported, for its own steps and batch unless --steps and
    --batch say otherwise. A .json file has neither: give --steps, and --batch if the batch grows.

    \b
    Examples:
      lrsearch export digits-default --to torch -o schedule.py
      lrsearch export digits-default --schedule onecycle --to json
      lrsearch export digits-default --to csv --steps 20000 --batch 256 --coupling 1
      lrsearch export schedule.json --to optax --steps 20000
      lrsearch export train-default --to flags
    """
    schedule, budget, command = _find(study, **asked)  # type: ignore[arg-type]  # from click
    got = carried(used(_words(study, command))) if command else None
    if got and form not in ("flags", "json"):
        echo(
            f"lrsearch: the command of {study} got only {', '.join(sorted(got))}; its own code "
            "decided the rest of the schedule, so --to flags repeats what was trained",
            err=True,
        )
    if form == "json":
        text = to_json(schedule)
    else:
        plan = _checked_budget(schedule, *budget).plan(schedule)
        lost = {"ignore_batch": ignore_batch, "ignore_momentum": ignore_momentum}
        if form == "csv":
            text = to_csv(plan)
        elif form == "python":
            text = to_python(schedule, plan, ignore_batch=ignore_batch)
        elif form == "flags":
            text = to_flags(_words(study, command), schedule, plan, folder=f"{study}-best") + "\n"
        else:
            text = to_module(form, plan, schedule, **lost)
    if output is None:
        echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot write {output}: {error.strerror}; check the path") from error


def _words(study: str, command: str) -> list[str]:
    """Return the words of a study's command."""
    try:
        words = shlex.split(command)
    except ValueError:  # unbalanced quotes, which lrsearch does not write
        words = []
    if not words:
        raise RequestError(
            f"{study} has no command, whose options --to flags writes; use another format"
        )
    return words


def _find(
    study: str,
    *,
    name: str | None,
    steps: int | None,
    batch: int | None,
    coupling: float | None,
    storage: str | None,
) -> tuple[Schedule, tuple[int | None, int | None], str]:
    """Return the schedule that the options choose, the known steps and batch, and the command."""
    if study.endswith(".json"):
        if name is not None:
            raise RequestError("--schedule applies to a study; a .json file has only one schedule")
        if coupling is not None:
            raise RequestError(
                "--coupling applies to a study; a .json file has no batch to scale from"
            )
        return Schedule.load(Path(study)), (steps, batch), ""

    from lrsearch import api

    result = api.load(study, storage=storage)
    own = result.budget
    if result.comparison is None and name in (*BASELINES, CURRENT_TUNED):
        raise RequestError(
            f"study {study} has no comparison yet, which tunes {name}; run `lrsearch compare "
            f"{study}{storage_option(result.study, result.storage)}`"
        )
    schedule = result.named(name or "recommended")
    if batch is not None and batch != own.batch:
        scaled = schedule.at_batch(batch, own.batch, coupling)
        note = (
            f"stays {schedule.peak:.4g} at batch {batch} (the study's is {own.batch}); scale it "
            "with --coupling 1 or 0.5"
            if scaled == schedule
            else f"changes from {schedule.peak:.4g} at the study's batch {own.batch} to "
            f"{scaled.peak:.4g} at batch {batch}"
        )
        echo(f"lrsearch: the peak {note}", err=True)
        schedule = scaled
    elif coupling is not None:
        raise RequestError(
            "--coupling has no effect at the study's own batch; give a --batch other than "
            f"{own.batch}"
        )
    steps = own.steps if steps is None else steps
    return schedule, (steps, own.batch if batch is None else batch), result.command


def _checked_budget(schedule: Schedule, steps: int | None, batch: int | None) -> Budget:
    if steps is None:
        raise RequestError("a .json file has no number of steps; give --steps")
    if batch is None and schedule.batch_growth != 1.0:
        raise RequestError(
            "the batch of this schedule grows; give --batch, its size at the first step"
        )
    return Budget(steps=steps, batch=1 if batch is None else batch)
