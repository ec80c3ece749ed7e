"""The parent run of a study, which is its report."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lrsearch.answer import differing_fields
from lrsearch.result import Result, Trial
from lrsearch.tracking.child_runs import TEXT_LIMIT
from lrsearch.tracking.description import describe
from lrsearch.tracking.table_view import study_view
from lrsearch.tracking.tracker import StudyFacts, tracked_settings

STUDY_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
PACKAGES = ("lrsearch", "torch", "numpy", "optuna", "mlflow")
#: Rows of the leaderboard's table.
ROWS = 200


def study_record(facts: StudyFacts) -> dict[str, Any]:
    """The parent run of a study that begins or goes on."""
    spec = facts.spec
    words: dict[str, Any] = {
        "objective": spec.objective,
        "space": spec.space.name,
        "unit": spec.unit,
        **tracked_settings(facts),
        **{f"option.{name}": value for name, value in spec.options.items()},
        **{f"space.{name}": entry for name, entry in spec.space.to_dict().items()},
    }
    space = {name: repr(entry) for name, entry in spec.space.to_dict().items()}
    identity = [spec.objective, spec.version, {n: repr(v) for n, v in spec.options.items()}]
    tags = {
        "lrsearch.study": spec.name,
        "lrsearch.kind": "study",
        "lrsearch.id": spec.id,
        "lrsearch.state": "running",
        "lrsearch.storage": str(Path(facts.storage).absolute()),
        "lrsearch.slots": str(facts.slots),
        "lrsearch.device": facts.facts.device,
        "lrsearch.digest.space": _digest(space),
        "lrsearch.digest.objective": _digest(identity),
        "mlflow.user": _user(),
        "mlflow.source.name": f"lrsearch tune {spec.objective}",
        "mlflow.source.type": "LOCAL",
        "version.python": platform.python_version(),
        **_versions(),
    }
    commit = _commit()
    if commit:
        tags["mlflow.source.git.commit"] = commit
    return {
        "kind": "study",
        "name": spec.name,
        "began": int(1000 * time.time()),
        "metrics": [],
        "identity": spec.id,
        "tags": {name: value for name, value in tags.items() if value},
        "params": {name: str(value)[:TEXT_LIMIT] for name, value in words.items() if value != ""},
        "data": dict(facts.facts.data),
        "view": study_view(facts),
    }


def best_so_far(trial: Trial, best: float | None) -> tuple[dict[str, Any] | None, float | None]:
    """A point of the convergence curve where a trial is a new best one; and the best value."""
    if trial.value is None or (best is not None and trial.value >= best):
        return None, best
    return {
        "kind": "progress",
        "metrics": [("best/value", trial.index, trial.value)],
    }, trial.value


def end_record(
    facts: StudyFacts, result: Result, state: str, files: Iterable[Path] = ()
) -> dict[str, Any]:
    """What the parent run says in the end.

    Args:
        facts: of the study.
        result: what it holds.
        state: `finished`, `interrupted` or `failed`.
        files: what it keeps as artifacts.
    """
    tags = {"lrsearch.state": state}
    metrics: list[tuple[str, int, float]] = [
        (f"trials/{name}", 0, float(count)) for name, count in result.counts.items()
    ]
    if result.ranked:
        best = result.best
        # The curve ends with the last trial, whether it was the best one or not.
        metrics += [("value", 0, best.value)] if best.value is not None else []
        last = result.trials[-1].index
        metrics += [("best/value", last, best.value)] if best.value is not None else []
        tags["lrsearch.best_trial"] = str(best.index)
        tags["lrsearch.best_schedule"] = repr(best.schedule)[:TEXT_LIMIT]
        tags["mlflow.note.content"] = describe(facts, result)
        if result.reference is not None:
            metrics.append(("ratio", 0, result.reference["ratio"]))
    if result.comparison is not None:
        found = result.comparison
        tags["lrsearch.comparison_schedule"] = repr(found.best.schedule)[:TEXT_LIMIT]
        metrics += [("comparison", 0, found.best.value)] if found.best.value is not None else []
    return {
        "kind": "end",
        "tags": tags,
        "params": {},
        "metrics": metrics,
        "status": STUDY_STATUS[state],
        "artifacts": [str(file) for file in files],
        "leaderboard": _leaderboard(result),
    }


def _leaderboard(result: Result) -> dict[str, list[Any]]:
    """Columns of the best trials: their value, fields that differ, diagnostics."""
    shown = result.ranked[:ROWS]
    if not shown:
        return {}
    fields = differing_fields([trial.schedule for trial in shown])
    figures = sorted({name for trial in shown for name in trial.diagnostics})
    diagnostics = [trial.diagnostics for trial in shown]
    return {
        "trial": [trial.index for trial in shown],
        "value": [trial.value for trial in shown],
        **{name: [getattr(trial.schedule, name) for trial in shown] for name in fields},
        **{name: [each.get(name) for each in diagnostics] for name in figures},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without an entry for this user
        return "unknown"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[f"version.{name}"] = version(name)
    return found


def _commit() -> str:
    """The commit of the folder that the search runs in; empty where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  # git itself, found on the path
            [git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
