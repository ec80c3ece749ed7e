"""Placeholders of a command, such as `{lr_csv}`, and what a run puts in their place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lrsearch.errors import RequestError, closest
from lrsearch.plan import csv_text
from lrsearch.run import Run
from lrsearch.schedule import FIELDS, Schedule

#: A name in braces, or in double braces for the text itself. `${name}` is a shell's own.
_PLACEHOLDER = re.compile(r"(?<!\$)(?:\{\{([a-z][a-z0-9_]*)\}\}|\{([a-z][a-z0-9_]*)\})")


def folder_for(run: Run) -> Path:
    """Return the folder of a run's command; lrsearch writes its own files elsewhere."""
    folder = run.folder / "out"
    folder.mkdir(exist_ok=True)
    return folder


def _schedule(run: Run) -> Schedule:
    if run.schedule is None:
        raise RequestError("this run has no schedule; use {lr_csv} or {plan_json}")
    return run.schedule


def _write_csv(run: Run) -> Path:
    path = run.folder / "lr.csv"
    path.write_text(csv_text(run.plan), encoding="utf-8")
    return path


def _write_json(run: Run) -> Path:
    lr, batch, momentum = run.plan.to_plain()
    plan = {"lr": lr, "batch": batch, "momentum": momentum}
    schedule = None if run.schedule is None else run.schedule.to_dict()
    path = run.folder / "plan.json"
    path.write_text(json.dumps({"schedule": schedule, **plan}) + "\n", encoding="utf-8")
    return path


#: Placeholders of a run that do not carry its schedule.
_RUN: dict[str, Callable[[Run], object]] = {
    "seed": lambda run: run.seed,
    "steps": lambda run: len(run.plan),
    "batch": lambda run: run.plan.batch[0],
    "folder": folder_for,
    "trial": lambda run: run.trial,
}
#: Files with the schedule, which are written to the folder of the run.
FILES: dict[str, Callable[[Run], Path]] = {
    "lr_csv": _write_csv,
    "plan_json": _write_json,
}
#: What scripts take in place of fractions of the run and of the peak.
_NUMBERS: dict[str, Callable[[Run], object]] = {
    "warmup_steps": lambda run: _schedule(run).phases(len(run.plan))[0],
    "hold_steps": lambda run: _schedule(run).phases(len(run.plan))[1],
    "decay_steps": lambda run: _schedule(run).phases(len(run.plan))[2],
    "min_lr": lambda run: _schedule(run).peak * _schedule(run).floor,
    "first_lr": lambda run: run.plan.lr[0],
    "final_lr": lambda run: run.plan.lr[-1],
}


def _field(name: str) -> Callable[[Run], object]:
    return lambda run: getattr(_schedule(run), name)


#: The fields that a number carries.
_OF_NUMBERS = {
    "warmup_steps": {"warmup"},
    "hold_steps": {"hold"},
    "decay_steps": {"warmup", "hold"},
    "min_lr": {"peak", "floor"},
    "first_lr": {"peak", "warmup"},
    "final_lr": {"peak", "floor"},
}
#: Placeholders that carry the schedule of a run.
CARRIERS = {**FILES, **{name: _field(name) for name in FIELDS}, **_NUMBERS}
#: All placeholders, by name.
PLACEHOLDERS = {**_RUN, **CARRIERS}


def used(words: Iterable[str]) -> list[str]:
    """Return the placeholders in words, in their order.

    Raises:
        RequestError: there is no such placeholder.
    """
    names = [match[2] for word in words for match in _PLACEHOLDER.finditer(word) if match[2]]
    for name in names:
        if name not in PLACEHOLDERS:
            raise RequestError(
                f"the command has the placeholder {{{name}}}; write {{{{{name}}}}} for the text "
                f"{{{name}}} itself{closest(name, PLACEHOLDERS)}"
            )
    return names


def carried(names: Iterable[str]) -> set[str] | None:
    """Return the fields of a schedule that placeholders carry, or None for the whole schedule."""
    known = set(names)
    if known & FILES.keys():
        return None
    return known & FIELDS.keys() | {
        field for name in known & _OF_NUMBERS.keys() for field in _OF_NUMBERS[name]
    }


def fill(words: Iterable[str], run: Run, **known: str) -> list[str]:
    """Return words without placeholders, and write the files that they name.

    Args:
        words: the words.
        run: the run.
        known: texts of placeholders that are not taken from the run.
    """

    def put(match: re.Match[str]) -> str:
        if match[1]:
            return f"{{{match[1]}}}"
        if match[2] not in known:
            known[match[2]] = str(PLACEHOLDERS[match[2]](run))
        return known[match[2]]

    return [_PLACEHOLDER.sub(put, word) for word in words]
