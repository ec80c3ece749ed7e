"""`lrsearch tune`."""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import sys
from typing import Any

import click
from click.core import ParameterSource

from lrsearch.cli.describe import describe_result, describe_search
from lrsearch.cli.options import (
    WORKFORCE,
    options,
    read_options,
    read_queue,
    read_settings,
    read_workforce,
    settings_of,
)
from lrsearch.cli.output import echo
from lrsearch.cli.own_command import describe_first_command, describe_patterns
from lrsearch.cli.progress import Progress
from lrsearch.cli.takes_command import COMMAND, OWN_COMMAND, TakesCommand, read_command
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.objectives.command import Command
from lrsearch.objectives.loading import is_reference
from lrsearch.origin import command_words
from lrsearch.redaction import HIDDEN, redact
from lrsearch.request import prepare
from lrsearch.result import Result
from lrsearch.search.comparison_sizes import describe_budget
from lrsearch.space import Space
from lrsearch.study.location import Location
from lrsearch.study.settings import Settings
from lrsearch.workers.ranks import rank_here

#: Options of output only, which the command for another machine leaves out.
OWN = ("as_json", "quiet")
GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


@click.command(cls=TakesCommand)
@click.argument("objective", default="digits", envvar="LRSEARCH_OBJECTIVE")
@options("space", "set", "with", "from")
@settings_of(Settings)
@options(*COMMAND, "try_patterns")
@options("device", *WORKFORCE)
@options("tracking_uri", "log_model", "no_compare", "dry_run", "json", "quiet")
def tune(
    objective: str,
    settings: tuple[str, ...],
    values: tuple[str, ...],
    start: str | None,
    try_patterns: str | None,
    log_model: str | None,
    no_compare: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Search for the best schedule of OBJECTIVE.

    OBJECTIVE is what is trained: a built-in name (see `lrsearch objectives`; default: digits),
    or your own code as FILE.py:NAME or package.module:NAME, where NAME is a function decorated
    with @lrsearch.objective, or a TorchTask.

    In its place, a COMMAND after -- is run for each schedule. Its placeholders, such as {lr_csv}
    (a file with the learning rate of every step), {peak}, {warmup_steps}, {seed} and {folder}, are
    replaced; --value or --value-from says where its value is. A script may ask for its rates, and
    report, with lrsearch.client.

    A search consists of trials. Each trial trains with one schedule, chosen by the sampler from
    the search space, on --seeds seeds. At the end, the best schedules are compared with tuned
    baselines (constant, linear, cosine, WSD, step, one-cycle) on fresh seeds.

    The study is saved. Run the same command again to continue after an interruption, or with a
    larger --trials to search longer.

    \b
    Examples:
      lrsearch tune
      lrsearch tune quadratic --space spline --trials 200
      lrsearch tune train.py:small_gpt --space cosine --steps 2000 --seeds 3
      lrsearch tune digits --space cosine --set peak=0.01..1 --with hidden=128
      lrsearch tune train.py:small_gpt --current today.json
      lrsearch tune --steps 2000 --set peak=1e-4..1e-2 --value 'val loss {value}' -- \\
        python train.py --lr-file={lr_csv} --seed={seed}
      lrsearch tune --value 'val loss {value}' --try-patterns old.log
      lrsearch tune train.py:small_gpt --storage postgresql://me@db/lr --parallel 16

    \b
    --json prints one object:
      {"study", "objective", "space", "unit", "steps", "seconds", "storage", "tracking_uri",
       "run_id",
       "runs":        {"search", "comparison"},
       "trials":      {"finished", "diverged", "pruned", "failed"},
       "recommended": {"name", "schedule": {...}, "value", "interval", "evidence", "sentence"},
       "best":        {"trial", "value", "schedule": {...}, "diagnostics": {...}},
       "reference":   null | {"optimum", "ratio"},
       "comparison":  null | {"seeds", "best_baseline", "noise",
         "contenders": {"searched" | "current" | "current, tuned" | "default" | "cosine" | ...:
           {"schedule": {...}, "peak", "value", "interval", "difference",
            "difference_interval", "percent", "verdict", "diverged"}}}}
    """
    from lrsearch import api

    if try_patterns is not None:
        echo(
            describe_patterns(try_patterns, *(asked[n] for n in ("value", "value_is", "report"))),
            nl=False,
        )
        return
    asked["space"] = space = Space.load(asked["space"])
    asked["settings"] = read_settings(space, settings)
    asked["options"] = read_options(values)
    context = click.get_current_context()
    named = context.get_parameter_source("objective") == ParameterSource.COMMANDLINE
    command = read_command(asked, other=named)
    if command is not None and asked["steps"] is None:
        raise RequestError("a command needs --steps; give the number of its optimizer updates")
    if command is not None and command.takes_batch and asked["batch"] is None:
        raise RequestError("the command takes {batch}; give --batch, its batch size")
    if context.get_parameter_source("trials") not in GIVEN:
        asked["trials"] = None
    given: Any = objective if command is None else command
    again = _named_again(objective, command)
    asked["enqueue"] = read_queue(asked["enqueue"], start, asked["storage"])
    asked["workers"] = read_workforce(asked)
    if dry_run:
        _describe_request(given, command, asked, compared=not no_compare)
        return
    location = Location.of(asked["study"] or "any", asked["storage"])
    first = ""
    if location.path is None:
        joining = _join_command(context, location)
        first = f"to join from another machine: {joining}"
    # The output of the user's code goes to stderr, so that stdout holds the result alone.
    progress = Progress(quiet=quiet or rank_here() > 0, first=first)
    try:
        with progress, contextlib.redirect_stdout(sys.stderr):
            result = api.tune(
                given,
                log_model=log_model,
                compare=not no_compare,
                callback=progress,
                **asked,
            )
    except SearchFailed as error:
        if isinstance(error.result, Result):  # the search ended, its comparison failed
            _print(error.result, progress, as_json, again)
        raise
    _print(result, progress, as_json, again)


def _describe_request(
    given: Any, command: Command | None, asked: dict[str, Any], *, compared: bool
) -> None:
    search, answers = prepare(given, compared=compared, **asked)
    echo(describe_search(search, answers.setup), nl=False)
    if asked["runs"] and compared and not answers.setup.exact:
        echo(f"\n{describe_budget(search.trials * search.seeds, asked['runs'])}")
    if command is not None:
        echo(describe_first_command(search, command), nl=False)


def _print(result: Result, progress: Progress, as_json: bool, again: str) -> None:
    if rank_here():
        return  # rank 0 prints the answer
    if as_json:
        echo(json.dumps(result.to_dict(), allow_nan=False))
    else:
        echo(describe_result(result, not progress.ended, progress.offers, again), nl=False)


def _named_again(objective: str, command: Command | None) -> str:
    """Return the options with which another command of lrsearch gets the user's own objective."""
    if command is not None:
        return f" {command_words(command.origin)}"
    return f" --objective {shlex.quote(objective)}" if is_reference(objective) else ""


def _join_command(context: click.Context, location: Location) -> str:
    """Return the command that joins this search from another machine.

    It repeats every option that was given here, on the command line or in the environment.

    Args:
        context: click's context of this command.
        location: where its study is stored, a database.
    """
    words = [*context.command_path.split()]
    for parameter in context.command.params:
        name, value = parameter.name, context.params.get(parameter.name or "")
        if name in OWN or context.get_parameter_source(name or "") not in GIVEN:
            continue
        if name == "storage":
            value = location.seen_from_elsewhere(platform.node())
        elif name == "tracking_uri":
            value = redact(str(value))
        flag = parameter.opts[0]
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(flag)
        elif name == "log_model":  # its value is optional
            words.append(f"{flag}={value}" if value else flag)
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [word for one in values for word in (flag, _written(one))]
    if own := context.meta.get(OWN_COMMAND):
        words += ["--", *own]
    command = shlex.join(words)
    return f"{command} (with its password for {HIDDEN})" if HIDDEN in command else command


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
