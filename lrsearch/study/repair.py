"""A damaged journal: what is sound is kept, the file itself is set aside.

Optuna numbers trials by their place in the log, so a log from which lines are missing would give
one trial's values to another. Hence nothing is replayed: what a study is, and how each of its
trials ended, are records that stand for themselves, and a new journal is written from those.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import create_trial

from lrsearch.codec import decode, encode
from lrsearch.distributions import distributions, point_within
from lrsearch.errors import RequestError
from lrsearch.study.backend import Backend
from lrsearch.study.heartbeat import is_here, workers_of
from lrsearch.study.journal import NOTHING, JournalLine, lines_of, open_journal, real_path
from lrsearch.study.keys import ENDED, LEADER, SPEC, WORKER
from lrsearch.study.location import Location
from lrsearch.study.locks import FileLock
from lrsearch.study.spec import SCHEMA, StudySpec
from lrsearch.study.store import MINIMIZE, Store
from lrsearch.study.trial_records import STRANGE, EndedTrial, reading

SET_STUDY_ATTRIBUTE, SET_TRIAL_ATTRIBUTE = 2, 8  # Optuna's codes of operations


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What became of a journal.

    Attributes:
        lines: of the file, the damaged ones included.
        damaged: how many are not what was written, or not where it was written.
        trials: how many ended trials there are now.
        lost: the trials below the last that are not among them, and will be measured again.
        aside: where the damaged file is; None where nothing was damaged.
    """

    lines: int
    damaged: int
    trials: int
    lost: tuple[int, ...]
    aside: Path | None


@dataclass
class _Salvage:
    """What the sound lines say of one study."""

    attributes: dict[str, Any]
    trials: dict[int, EndedTrial] = field(default_factory=dict)


def repair(name: str, path: Path) -> Repair:
    """Keeps what is sound of a study's journal, and sets the file aside if something is not.

    Raises:
        RequestError: there is no such file, it is in use, or what the study is was lost.
    """
    if not real_path(path).is_file():
        raise RequestError(f"there is no {path}; name the journal with --storage")
    if not any(JournalLine(raw).sound for raw in lines_of(path.read_bytes())):
        raise RequestError(
            f"{path} holds no record of lrsearch's; remove it, or name another study"
        )
    try:
        with FileLock(path.with_suffix(".lock")):
            return _repair(name, path)
    except OSError as error:
        raise RequestError(
            f"cannot write beside {path}: {error.strerror}; make room or copy it elsewhere"
        ) from error


def _repair(name: str, path: Path) -> Repair:
    lines = [JournalLine(raw) for raw in lines_of(path.read_bytes())]
    sound = [line for line in lines if line.sound]
    before = [NOTHING, *(line.sum for line in lines)]
    damaged = sum(
        not line.sound or line.after != last for line, last in zip(lines, before, strict=False)
    )
    with reading(path):
        studies = _salvage(line.record() for line in sound)
        # One on another machine, which cannot be seen from here, will find its file replaced.
        here = [w for s in studies.values() for w in workers_of(s.attributes) if is_here(w)]
    if here:
        raise RequestError(f"{path} is in use by process {here[0].pid}; end it first")
    names = [study.attributes[SPEC]["name"] for study in studies.values()]
    if names.count(name) != 1:
        raise RequestError(
            f"{path} does not say what study {name} is, without which nothing can be made of its "
            f"trials, and is left as it stands; it knows {', '.join(names) or 'no study'}; search "
            "under another --study name"
        )
    aside = None
    if damaged:
        fresh = path.with_suffix(".repaired")
        fresh.unlink(missing_ok=True)
        with reading(path):
            for study in studies.values():
                _write(open_journal(fresh), study)
        aside = _free_name(path)
        shutil.copy2(path, aside)
        os.replace(fresh, path)
    kept = Store.read(Location(name, path)).trials()
    lost = tuple(i for i in range(max(kept, default=-1) + 1) if i not in kept)
    return Repair(lines=len(lines), damaged=damaged, trials=len(kept), lost=lost, aside=aside)


def _salvage(records: Iterable[Mapping[str, Any]]) -> dict[str, _Salvage]:
    """What stands for itself, by the identity of its study."""
    attributes: dict[int, dict[str, Any]] = {}
    ended: list[Mapping[str, Any]] = []
    for record in records:
        code, given = record.get("op_code"), record.get("user_attr")
        if code == SET_STUDY_ATTRIBUTE and isinstance(given, dict):
            attributes.setdefault(record["study_id"], {}).update(given)
        elif code == SET_TRIAL_ATTRIBUTE and isinstance(given, dict) and ENDED in given:
            ended.append(given[ENDED])
    studies = {}
    for kept in attributes.values():
        with contextlib.suppress(*STRANGE):
            decode(StudySpec, kept[SPEC])
            if kept[SPEC]["schema"] == SCHEMA:
                studies[kept[SPEC]["id"]] = _Salvage(attributes=kept)
    for told in ended:
        with contextlib.suppress(*STRANGE):
            trial = EndedTrial.read(told)
            studies[trial.study].trials.setdefault(trial.index, trial)
    return studies


def _write(storage: Backend, study: _Salvage) -> None:
    """Writes a study anew."""
    spec: StudySpec = decode(StudySpec, study.attributes[SPEC])
    searched = distributions(spec.space)
    key = storage.create_new_study(MINIMIZE, spec.name)
    for name, value in study.attributes.items():
        if not name.startswith(WORKER) and name != LEADER:
            storage.set_study_user_attr(key, name, value)
    for _, ended in sorted(study.trials.items()):
        point = point_within(ended.schedule, searched) or {}
        state, values = ended.final
        attempt = create_trial(
            state=state,
            values=values,
            params=point,
            distributions=searched if point else {},
            user_attrs={ENDED: encode(ended)},
        )
        storage.create_new_trial(key, attempt)


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged-{i}") for i in range(1, 10_000))
    return next(name for name in names if not name.exists())
