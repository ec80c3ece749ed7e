"""The options, each declared once. Each is also an environment variable LRSEARCH_NAME."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from lrsearch.errors import RequestError
from lrsearch.objectives.command import VALUE_IS
from lrsearch.ranges import parse_setting, parse_value
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.study.settings import Declared, Settings, declared
from lrsearch.workers.workforce import ENGINES, Workforce

#: Options that say where trials are trained.
WORKFORCE = tuple(field.name for field in fields(Workforce))


def _option(*names: str, **words: Any) -> Callable[[Any], Any]:
    long = next(name for name in names if name.startswith("--"))
    prefix = words.pop("prefix", "")
    variable = f"LRSEARCH_{prefix}" + long.removeprefix("--").replace("-", "_").upper()
    words.setdefault("show_default", "default" in words)
    return click.option(*names, envvar=variable, **words)


def _setting(name: str, default: Any, about: Declared, prefix: str) -> Callable[[Any], Any]:
    """Return the option of a setting."""
    words: dict[str, Any] = {"help": about.help, "metavar": about.metavar, "prefix": prefix}
    bound = about.bound
    if bound is not None and bound.kind == "name":
        words["type"] = click.Choice(bound.names)
    elif bound is not None and bound.kind == "int" and not bound.names:
        words["type"] = int
    if about.multiple:
        words["multiple"] = True
    elif default is not None:
        words["default"] = default
    return _option(f"--{name.replace('_', '-')}", **words)


#: Settings of a study that other commands take too.
_SHARED = {
    each.name: _setting(each.name, each.default, about, "")
    for each, about in declared(Settings)
    if each.name in ("steps", "batch", "storage")
}

OPTIONS: dict[str, Callable[[Any], Any]] = {
    **_SHARED,
    "space": _option(
        "--space",
        default="default",
        metavar="NAME|FILE",
        help="Search space: a shipped name (see `lrsearch spaces`) or a YAML file.",
    ),
    "set": _option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Fix a field, or give it a range LOW..HIGH or choices A,B,C. Repeatable.",
    ),
    "with": _option(
        "--with",
        "values",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set an option of the objective (see `lrsearch objectives NAME`). Repeatable.",
    ),
    "device": _option(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:i]",
        help="Where tasks train; auto takes the first GPU if there is one, else the CPU.",
    ),
    "workers": _option(
        "--workers",
        type=int,
        metavar="N",
        help="Worker processes. Each takes one GPU if there are several; a worker that dies is "
        "replaced. Default: train in this process; on a cluster, as many as fit.",
    ),
    "engine": _option(
        "--engine",
        type=click.Choice(ENGINES),
        default="local",
        help="Where workers run: on this machine or on a Ray cluster.",
    ),
    "address": _option(
        "--address",
        metavar="auto|local|ray://HOST:PORT",
        help="Address of the Ray cluster; auto is the cluster of this machine.",
    ),
    "worker_gpus": _option(
        "--worker-gpus",
        type=float,
        metavar="X",
        help="GPUs per worker, such as 4 for a command that starts torchrun; 0.5 lets two workers "
        "share one. Default: one, if there are enough.",
    ),
    "worker_cpus": _option(
        "--worker-cpus", type=float, metavar="X", help="CPU cores per worker on a cluster."
    ),
    "from": _option(
        "--from",
        "start",
        metavar="STUDY",
        help="Try the best schedule of another study first.",
    ),
    "value": _option(
        "--value",
        metavar="PATTERN",
        help="With -- COMMAND: the lines of its output that have the value, such as "
        "'val loss {value}'. Lower is better.",
    ),
    "value_from": _option(
        "--value-from",
        metavar="FILE:KEY",
        help="With -- COMMAND: a JSON file that it writes, and the key of the value, such as "
        "'{folder}/results.json:eval.loss'; or client, for lrsearch.client.value.",
    ),
    "value_is": _option(
        "--value-is",
        type=click.Choice(VALUE_IS),
        default="last",
        help="With -- COMMAND: which of several values counts.",
    ),
    "report": _option(
        "--report",
        metavar="PATTERN",
        help="With -- COMMAND: the lines that have the loss of a step, such as "
        "'iter {t}: loss {loss}', so that a run that diverges is ended.",
    ),
    "try_patterns": _option(
        "--try-patterns",
        metavar="LOG",
        help="Show what --value and --report read in an old log; run nothing.",
    ),
    "no_compare": _option(
        "--no-compare",
        is_flag=True,
        help="Skip the final comparison with tuned baselines.",
    ),
    "objective": _option(
        "--objective",
        metavar="NAME",
        help="Your objective, FILE.py:NAME or package.module:NAME, if the study used one.",
    ),
    "tracking_uri": _option(
        "--tracking-uri",
        metavar="URI|none",
        help="MLflow tracking URI (a database or server), or none. Default: MLflow's own setting, "
        "else sqlite:///mlflow.db.",
    ),
    "log_model": _option(
        "--log-model",
        is_flag=False,
        flag_value="",
        metavar="[NAME]",
        help="Train the best schedule once more and log the model to MLflow; NAME registers it.",
    ),
    "port": _option(
        "--port",
        type=click.IntRange(1, 65_535),
        default=5000,
        metavar="N",
        help="Port of MLflow's server on this machine.",
    ),
    "sort": _option(
        "--sort",
        metavar="NAME",
        help="Sort by a diagnostic and explain it; with --plot, draw the value against it.",
    ),
    "dry_run": _option(
        "--dry-run",
        is_flag=True,
        help="Check the request and print the resolved settings; run nothing.",
    ),
    "json": _option("--json", "as_json", is_flag=True, help="Print JSON."),
    "quiet": _option("--quiet", is_flag=True, help="Show no progress."),
    "plot": _option(
        "--plot",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Write a plot: .png, .svg or .pdf.",
    ),
    "html": _option(
        "--html",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Write a self-contained HTML report: answer, table and plots.",
    ),
    "top": _option(
        "--top",
        type=click.IntRange(min=1),
        default=10,
        metavar="N",
        help="Rows of the leaderboard to print.",
    ),
}


def settings_of(kind: Any, *, prefix: str = "") -> Callable[[Any], Any]:
    """Add an option for every setting that a dataclass declares, in their order.

    Args:
        kind: the dataclass.
        prefix: prefix of their environment variables, after LRSEARCH_.
    """
    return _all_of(
        [_setting(each.name, each.default, about, prefix) for each, about in declared(kind)]
    )


def options(*names: str) -> Callable[[Any], Any]:
    """Add some of `OPTIONS` to a command, in this order."""
    return _all_of([OPTIONS[name] for name in names])


def _all_of(chosen: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


def read_settings(space: Space, settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that `--set` gives.

    Raises:
        RequestError: a text cannot be parsed, or its value is not valid for the field.
    """
    found = {}
    for text in settings:
        current = space.entries.get(text.partition("=")[0].strip())
        name, entry = parse_setting(text, current)
        if name in found:
            raise RequestError(f"--set gives {name} twice; give it once")
        found[name] = entry
    return found


def read_queue(files: tuple[str, ...], study: str | None, storage: str | None) -> list[Schedule]:
    """Return the schedules that `--enqueue` and `--from` name.

    Raises:
        RequestError: a file or the study cannot be read.
    """
    queue = [Schedule.load(Path(file)) for file in files]
    if study is not None:
        from lrsearch import api

        # A journal holds one study, a database many.
        shared = storage if storage is not None and "://" in storage else None
        queue.append(api.load(study, storage=shared).best.schedule)
    return queue


def read_workforce(asked: dict[str, Any]) -> Workforce:
    """Remove the options of the workforce from `asked`, and return them as a `Workforce`.

    Raises:
        RequestError: a value is out of range, or does not apply to the engine.
    """
    return Workforce(**{name: asked.pop(name) for name in WORKFORCE})


def read_options(values: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of the objective that `--with` gives.

    Raises:
        RequestError: a text cannot be parsed.
    """
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise RequestError(f"--with {text!r} cannot be parsed; give --with NAME=VALUE")
        if name.strip() in found:
            raise RequestError(f"--with gives {name.strip()} twice; give it once")
        found[name.strip()] = parse_value(value)
    return found
