"""The options, each declared once; every one is also an environment variable LRSEARCH_NAME."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from lrsearch.errors import RequestError
from lrsearch.ranges import parse_setting, parse_value
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.study.settings import Declared, declared
from lrsearch.workers.workforce import ENGINES, Workforce

#: Who trains, in options.
WORKFORCE = tuple(field.name for field in fields(Workforce))


def _option(*names: str, **words: Any) -> Callable[[Any], Any]:
    long = next(name for name in names if name.startswith("--"))
    prefix = words.pop("prefix", "")
    variable = f"LRSEARCH_{prefix}" + long.removeprefix("--").replace("-", "_").upper()
    words.setdefault("show_default", "default" in words)
    return click.option(*names, envvar=variable, **words)


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "space": _option(
        "--space",
        default="default",
        metavar="NAME|FILE",
        help="Search space: a shipped one or a YAML file.",
    ),
    "set": _option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Fix a field, or range it anew with LOW..HIGH or A,B,C. Repeatable.",
    ),
    "with": _option(
        "--with",
        "values",
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the objective; `lrsearch objectives NAME` lists them. Repeatable.",
    ),
    "steps": _option("--steps", type=int, metavar="T", help="Updates of a run."),
    "batch": _option("--batch", type=int, metavar="B", help="Samples of the first update."),
    "device": _option(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:i]",
        help="Where tasks train; auto is the first GPU, else the CPU.",
    ),
    "workers": _option(
        "--workers",
        type=int,
        metavar="N",
        help="Processes that train, each with a GPU of its own where there are several; one that "
        "dies is replaced. Default: this process, or what a cluster has room for.",
    ),
    "engine": _option(
        "--engine",
        type=click.Choice(ENGINES),
        default="local",
        help="What starts workers: this machine, or a Ray cluster.",
    ),
    "address": _option(
        "--address",
        metavar="auto|local|ray://HOST:PORT",
        help="The Ray cluster; auto is the one that this machine is part of.",
    ),
    "worker_gpus": _option(
        "--worker-gpus",
        type=float,
        metavar="X",
        help="GPUs of a worker on a cluster, a fraction where several share one.",
    ),
    "worker_cpus": _option(
        "--worker-cpus", type=float, metavar="X", help="CPU cores of a worker on a cluster."
    ),
    "from": _option(
        "--from",
        "start",
        metavar="STUDY",
        help="Try the best schedule of another study before all others.",
    ),
    "no_compare": _option(
        "--no-compare",
        is_flag=True,
        help="Do not hold the best schedules against baselines at the end.",
    ),
    "objective": _option(
        "--objective",
        metavar="NAME",
        help="What answers, where it is code of yours: FILE.py:NAME or package.module:NAME.",
    ),
    "storage": _option(
        "--storage",
        metavar="FILE|URL",
        help="The study's journal file, or a database that several machines share, such as "
        "postgresql://USER@HOST/NAME. Default: lrsearch-studies/STUDY.journal.",
    ),
    "tracking_uri": _option(
        "--tracking-uri",
        metavar="URI|none",
        help="MLflow's database or server. Default: MLflow's own, sqlite:///mlflow.db.",
    ),
    "log_model": _option(
        "--log-model",
        is_flag=False,
        flag_value="",
        metavar="[NAME]",
        help="Train the winner once more and log its model to MLflow; with a NAME, register it.",
    ),
    "port": _option(
        "--port",
        type=click.IntRange(1, 65_535),
        default=5000,
        metavar="N",
        help="Where MLflow's server listens on this machine.",
    ),
    "sort": _option(
        "--sort",
        metavar="NAME",
        help="Order by a diagnostic, show it, and draw the value against it.",
    ),
    "dry_run": _option("--dry-run", is_flag=True, help="Check the request and say what it is."),
    "json": _option("--json", "as_json", is_flag=True, help="Print JSON."),
    "quiet": _option("--quiet", is_flag=True, help="No progress."),
    "plot": _option(
        "--plot",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Draw a picture: .png, .svg or .pdf.",
    ),
    "html": _option(
        "--html",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Write one self-contained HTML file: the answer, the table, the pictures.",
    ),
    "top": _option(
        "--top",
        type=click.IntRange(min=1),
        default=10,
        metavar="N",
        help="Rows of the leaderboard.",
    ),
}


def settings_of(kind: Any, *, prefix: str = "") -> Callable[[Any], Any]:
    """Add an option for every setting that a dataclass declares, in their order.

    Args:
        kind: the dataclass.
        prefix: of their environment variables, after LRSEARCH_.
    """
    return _all_of(
        [
            OPTIONS.get(each.name) or _setting(each.name, each.default, about, prefix)
            for each, about in declared(kind)
        ]
    )


def _setting(name: str, default: Any, about: Declared, prefix: str) -> Callable[[Any], Any]:
    """The option of a setting."""
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


def options(*names: str) -> Callable[[Any], Any]:
    """Adds some of `OPTIONS` to a command, in this order."""
    return _all_of([OPTIONS[name] for name in names])


def _all_of(chosen: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


def read_settings(space: Space, settings: tuple[str, ...]) -> dict[str, Any]:
    """The fields that `--set` gives.

    Raises:
        RequestError: one cannot be read, or its field may not hold it.
    """
    found = {}
    for text in settings:
        current = space.entries.get(text.partition("=")[0].strip())
        name, entry = parse_setting(text, current)
        if name in found:
            raise RequestError(f"--set names {name} twice; keep one")
        found[name] = entry
    return found


def read_queue(files: tuple[str, ...], study: str | None, storage: str | None) -> list[Schedule]:
    """The schedules that `--enqueue` and `--from` name.

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
    """Takes out of what is asked who trains.

    Raises:
        RequestError: a value is out of range, or of no use with the engine.
    """
    return Workforce(**{name: asked.pop(name) for name in WORKFORCE})


def read_options(values: tuple[str, ...]) -> dict[str, Any]:
    """The objective's options that `--with` gives.

    Raises:
        RequestError: one cannot be read.
    """
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise RequestError(f"cannot read {text!r}; give --with NAME=VALUE")
        if name.strip() in found:
            raise RequestError(f"--with names {name.strip()} twice; keep one")
        found[name.strip()] = parse_value(value)
    return found
