"""The parent run of a study, which is its report."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lrsearch.answer import answer_of, differing_fields
from lrsearch.result import Result, Trial
from lrsearch.tracking.child_runs import TEXT_LIMIT
from lrsearch.tracking.tracker import StudyFacts, tracked_settings

STUDY_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
PACKAGES = ("lrsearch", "torch", "numpy", "optuna", "mlflow")
#: MLflow keeps no more of a description.
LIMIT = 8_000
#: Rows of the leaderboard's table.
ROWS = 200
#: Columns of numbers beside the space's fields, where the runs have them.
FIGURES = ("value", "accuracy", "largest_stability_ratio", "worst_rise", "seconds")
#: MLflow's table is slow with more.
MOST = 14


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
        "mlflow.source.git.commit": _commit(),
        "version.python": platform.python_version(),
        **_versions(),
    }
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


def study_view(facts: StudyFacts) -> dict[str, Any]:
    """The view of MLflow's table in which a study is read: filter, order and columns.

    It is JSON below the experiment's tag `mlflow.sharedViewState.KEY`, which the page reads where
    its address says `viewStateShareKey=KEY` (MLflow 3; another version may ignore it).
    """
    columns = [
        "tags.`lrsearch.kind`",
        "tags.`lrsearch.state`",
        *(f"metrics.`{name}`" for name in FIGURES),
        *(f"params.`{name}`" for name in dict.fromkeys(("peak", *facts.spec.space.free))),
    ]
    return {
        "searchFilter": f"tags.`lrsearch.id` = '{facts.spec.id}'",
        "orderByKey": "metrics.`value`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns[:MOST],
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
        if best.value is not None:
            # The curve ends with the last trial, whether it was the best one or not.
            last = result.trials[-1].index
            metrics += [("value", 0, best.value), ("best/value", last, best.value)]
        tags |= {
            "lrsearch.best_trial": str(best.index),
            "lrsearch.best_schedule": repr(best.schedule)[:TEXT_LIMIT],
            "mlflow.note.content": describe(facts, result),
        }
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


def describe(facts: StudyFacts, result: Result) -> str:
    """The description in markdown: what was found, is it better, what to type; under the limit.

    Raises:
        NothingFinished: there is nothing to describe.
    """
    answer = answer_of(result)
    parts = [f"**{answer.sentence}**"]
    if answer.rows:
        parts += [_table(answer.rows), f"({answer.how})"]
        parts += ["\n".join(f"- {remark}" for remark in answer.remarks)] if answer.remarks else []
        parts.append(answer.luck)
    fields = answer.schedule.to_dict(defaults=False)
    parts += [
        _table([("field", "value"), *((n, f"{v}") for n, v in fields.items())]),
        "Export, and reproduce with the artifact `space.yaml`:",
        f"```\n{answer.export}\n{_command(facts, result)}\n```",
    ]
    text = "\n\n".join(parts)
    return text if len(text) <= LIMIT else text[: LIMIT - 2].rpartition("\n")[0] + "\n…"


def _command(facts: StudyFacts, result: Result) -> str:
    """The command that searches the same study again."""
    settings = {"trials": len(result.trials), **tracked_settings(facts)}
    options = [f"--{name} {value}" for name, value in settings.items()]
    options += [f"--with {shlex.quote(f'{n}={v}')}" for n, v in facts.spec.options.items()]
    return f"lrsearch tune {facts.spec.objective} --space space.yaml {' '.join(options)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table in the dialect of MLflow's page, which wants the outer bars."""
    head, *body = [[cell.replace("|", "/") or " " for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def _leaderboard(result: Result) -> dict[str, list[Any]]:
    """Columns of the best trials: their value, fields that differ, diagnostics."""
    shown = result.ranked[:ROWS]
    if not shown:
        return {}
    fields = differing_fields([trial.schedule for trial in shown])
    figures = sorted({name for trial in shown for name in trial.diagnostics})
    return {
        "trial": [trial.index for trial in shown],
        "value": [trial.value for trial in shown],
        **{name: [getattr(trial.schedule, name) for trial in shown] for name in fields},
        **{name: [trial.diagnostics.get(name) for trial in shown] for name in figures},
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
