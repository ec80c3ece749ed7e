"""The parent run of a study in MLflow, whose description reports the result."""

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

from lrsearch.answer import answer_of, differing_fields, rounded_fields
from lrsearch.origin import command_words
from lrsearch.outcome import Trial
from lrsearch.result import Result
from lrsearch.study.spec import StudySpec
from lrsearch.tracking.child_runs import TEXT_LIMIT
from lrsearch.tracking.tracker import StudyFacts, tracked_settings
from lrsearch.tracking.valid_records import code_block

STUDY_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
PACKAGES = ("lrsearch", "torch", "numpy", "optuna", "mlflow")
#: Largest length of a description in MLflow, in characters.
LIMIT = 8_000
#: Largest number of rows of the leaderboard.
ROWS = 200
#: Metrics that are columns of the table, if the runs have them, before the space's fields.
FIGURES = ("value", "accuracy", "largest_stability_ratio", "worst_rise", "seconds")
#: Largest number of columns; MLflow's table is slow with more.
MOST = 14


def study_record(facts: StudyFacts) -> dict[str, Any]:
    """Return the parent run of a study that starts or continues."""
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
        "mlflow.source.name": f"lrsearch tune {_target(spec)}",
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
    """Return the study's view of MLflow's table: filter, order and columns.

    It is stored as JSON in the experiment's tag `mlflow.sharedViewState.KEY`. The page reads this
    tag if its address contains `viewStateShareKey=KEY` (MLflow 3; other versions may ignore it).
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
    """Return a point of the convergence curve, and the best value so far.

    The point is None unless the trial is a new best.
    """
    if trial.value is None or (best is not None and trial.value >= best):
        return None, best
    return {
        "kind": "progress",
        "metrics": [("best/value", trial.index, trial.value)],
    }, trial.value


def end_record(
    facts: StudyFacts, result: Result, state: str, files: Iterable[Path] = ()
) -> dict[str, Any]:
    """Return the record that ends a parent run.

    Args:
        facts: facts about the study.
        result: result of the study.
        state: `finished`, `interrupted` or `failed`.
        files: files to store as artifacts.
    """
    tags = {"lrsearch.state": state}
    metrics: list[tuple[str, int, float]] = [
        (f"trials/{name}", 0, float(count)) for name, count in result.counts.items()
    ]
    if result.ranked:
        best = result.best
        if best.value is not None:
            # The curve ends at the last trial, even if an earlier one was the best.
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
        chosen = result.recommended
        tags["lrsearch.recommended"] = chosen.name
        tags["lrsearch.evidence"] = chosen.evidence
        tags["lrsearch.recommended_schedule"] = repr(chosen.schedule)[:TEXT_LIMIT]
        metrics += [("recommended", 0, chosen.value)] if chosen.value is not None else []
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
    """Return the description in markdown: answer, tables and commands, cut at `LIMIT`.

    Raises:
        NothingFinished: no trial finished.
    """
    answer = answer_of(result)
    parts = [f"**{answer.sentence}**"]
    if answer.rows:
        parts += [_table(answer.rows), f"({answer.how})"]
    parts += ["\n".join(f"- {remark}" for remark in answer.remarks)] if answer.remarks else []
    parts += [answer.luck] if answer.luck else []
    parts += [
        _table([("field", "value"), *rounded_fields(answer.schedule)]),
        "Export the schedule, or repeat the search with the artifact `space.yaml`:",
        code_block(f"{answer.export}\n{_command(facts, result)}"),
    ]
    text = "\n\n".join(parts)
    return text if len(text) <= LIMIT else text[: LIMIT - 2].rpartition("\n")[0] + "\n…"


def _command(facts: StudyFacts, result: Result) -> str:
    """Return the command that repeats the search of a study."""
    settings = {"trials": result.counted, **tracked_settings(facts)}
    options = [f"--{name} {shlex.quote(str(value))}" for name, value in settings.items()]
    options += [f"--with {shlex.quote(f'{n}={v}')}" for n, v in facts.spec.options.items()]
    if not facts.spec.command:
        return " ".join(["lrsearch tune", _target(facts.spec), "--space space.yaml", *options])
    return " ".join(
        ["lrsearch tune --space space.yaml", *options, command_words(facts.spec.origin)]
    )


def _target(spec: StudySpec) -> str:
    """Return how a command names the objective of a study: by its name, or as `-- COMMAND`."""
    return f"-- {spec.command}" if spec.command else shlex.quote(spec.objective)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table with outer bars, which MLflow's page requires."""
    head, *body = [[cell.replace("|", "/") or " " for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def _leaderboard(result: Result) -> dict[str, list[Any]]:
    """Return columns of the best trials: values, fields that differ, diagnostics."""
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
    """Return the git commit of the current folder; empty if there is none."""
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
