"""Repair of a damaged journal: intact records are kept, and the damaged file is set aside.

Optuna numbers trials by their place in the log. Replaying a log with missing lines would assign
the values of one trial to another. The log is therefore not replayed. The record of a study and
those of its ended trials do not depend on other lines, and a new journal is written from them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
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

SET_STUDY_ATTRIBUTE, SET_TRIAL_ATTRIBUTE = 2, 8  # operation codes of Optuna's journal


@dataclass(frozen=True, kw_only=True)
class Repair:
    """The result of a repair.

    Attributes:
        lines: number of lines in the file, damaged ones included.
        damaged: number of lines that were changed, or that are not where they were written.
        trials: number of ended trials after the repair.
        lost: indices of missing trials below the highest index; the next search runs them again.
        aside: path of the copy of the damaged file; None if nothing was damaged.
    """

    lines: int
    damaged: int
    trials: int
    lost: tuple[int, ...]
    aside: Path | None


@dataclass
class _Salvage:
    """The intact records of one study."""

    attributes: dict[str, Any]
    trials: dict[int, EndedTrial] = field(default_factory=dict)


def repair(name: str, path: Path) -> Repair:
    """Keep the intact records of a study's journal, and set the file aside if it is damaged.

    Raises:
        RequestError: the file does not exist, is in use, or has lost the record of the study.
    """
    if not real_path(path).is_file():
        raise RequestError(f"there is no file {path}; give the path of the journal as `storage=`")
    if not any(JournalLine(raw).sound for raw in lines_of(path.read_bytes())):
        raise RequestError(
            f"{path} contains no record of lrsearch; remove it or choose another `study=`"
        )
    try:
        with FileLock(path.with_suffix(".lock")):
            return _repair(name, path)
    except OSError as error:
        raise RequestError(
            f"cannot write beside {path}: {error.strerror}; free disk space or copy the file to "
            "another folder"
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
        # A process on another machine is not visible; it will detect that its file was replaced.
        here = [w for s in studies.values() for w in workers_of(s.attributes) if is_here(w)]
    if here:
        raise RequestError(f"{path} is in use by process {here[0].pid}; end that process first")
    names = [study.attributes[SPEC]["name"] for study in studies.values()]
    if names.count(name) != 1:
        raise RequestError(
            f"{path} has no intact record of study {name}, so its trials cannot be recovered; the "
            f"file is unchanged and has records of {', '.join(names) or 'no study'}; choose "
            "another `study=`"
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
        for copy in (aside, fresh):
            _take_access(copy, path)
        os.replace(fresh, path)
    kept = Store.read(Location(name, path)).trials()
    lost = tuple(i for i in range(max(kept, default=-1) + 1) if i not in kept)
    return Repair(lines=len(lines), damaged=damaged, trials=len(kept), lost=lost, aside=aside)


def _salvage(records: Iterable[Mapping[str, Any]]) -> dict[str, _Salvage]:
    """Return the intact records by the id of their study."""
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
            known = studies[trial.study].trials
            if trial.index not in known or known[trial.index].state == "failed":  # it was retried
                known[trial.index] = trial
    return studies


def _write(storage: Backend, study: _Salvage) -> None:
    """Write a study to an empty storage."""
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


def _take_access(copy: Path, original: Path) -> None:
    """Give a copy the mode of a file, and its owner and group if this process may do so."""
    found = original.stat()
    with contextlib.suppress(PermissionError):
        os.chown(copy, found.st_uid, found.st_gid)
    copy.chmod(stat.S_IMODE(found.st_mode))


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged-{i}") for i in range(1, 10_000))
    return next(name for name in names if not name.exists())
