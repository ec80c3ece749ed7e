"""What a tracker is told, as plain JSON objects: a run is a name, tags, parameters and numbers.

No infinite or NaN number is among them, because it would break MLflow's pages.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lrsearch.confirmation import Confirmation
from lrsearch.contract import StudyFacts
from lrsearch.result import Result, Trace, Trial

__all__ = ["end_record", "study_record", "trial_record"]

#: MLflow's page draws no more points of a curve.
CURVE_POINTS = 500
#: Points of a whole study. At 0.15 ms a point on SQLite, more would outlast a fast search.
STUDY_POINTS = 40_000
FEWEST_POINTS = 40
#: MLflow cuts off or refuses longer texts.
TEXT_LIMIT, NOTE_LIMIT = 5_000, 8_000
STATUS = {"finished": "FINISHED", "diverged": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
STUDY_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


def study_record(facts: StudyFacts) -> dict[str, Any]:
    """The parent run of a study."""
    words: dict[str, Any] = {
        "objective": facts.setup.name,
        "space": facts.space.name,
        "unit": facts.setup.unit,
        "steps": facts.steps,
        "batch": facts.batch,
        "seeds": facts.seeds,
        "seed": facts.seed,
        "sampler": facts.sampler,
        "diagnostics": facts.diagnostics,
        "storage": str(Path(facts.storage).absolute()),
        **{f"option.{name}": value for name, value in facts.setup.options.items()},
        **{f"space.{name}": entry for name, entry in facts.space.to_dict().items()},
    }
    return {
        "kind": "study",
        "name": facts.study,
        "began": int(1000 * time.time()),
        "metrics": [],
        "identity": facts.identity,
        "tags": {
            "lrsearch.study": facts.study,
            "lrsearch.kind": "study",
            "lrsearch.id": facts.identity,
            "lrsearch.slots": str(facts.slots),
            "lrsearch.device": facts.setup.device,
        },
        "params": {name: str(value)[:TEXT_LIMIT] for name, value in words.items()},
    }


def trial_record(facts: StudyFacts, trial: Trial) -> dict[str, Any]:
    """The child run of a trial that ends now."""
    ended = time.time()
    tags = {
        "lrsearch.study": facts.study,
        "lrsearch.kind": "trial",
        "lrsearch.trial": str(trial.index),
        "lrsearch.state": trial.state,
    }
    if trial.reason:
        tags["lrsearch.reason"] = trial.reason[:TEXT_LIMIT]
    fields = trial.schedule.to_dict(defaults=False)
    return {
        "kind": "trial",
        "name": f"{facts.study}-{trial.index}",
        "began": int(1000 * (ended - trial.seconds)),
        "ended": int(1000 * ended),
        "status": STATUS[trial.state],
        "tags": tags,
        "params": {name: str(value) for name, value in fields.items()},
        "metrics": list(_numbers(facts, trial)),
    }


def end_record(result: Result, state: str, files: Iterable[Path] = ()) -> dict[str, Any]:
    """What the parent run says in the end.

    Args:
        result: what the study holds.
        state: `finished`, `interrupted` or `failed`.
        files: what it keeps as artifacts.
    """
    tags = {"lrsearch.state": state}
    metrics: list[tuple[str, int, float]] = [
        (f"trials.{name}", 0, float(count)) for name, count in result.counts.items()
    ]
    if result.ranked:
        best = result.best
        metrics += [("best", best.index, best.value)] if best.value is not None else []
        tags["lrsearch.best_trial"] = str(best.index)
        tags["lrsearch.best_schedule"] = repr(best.schedule)[:TEXT_LIMIT]
        if result.reference is not None:
            metrics.append(("ratio", best.index, result.reference["ratio"]))
    if result.confirmed is not None:
        found = result.confirmed
        tags["mlflow.note.content"] = describe(result, found)[:NOTE_LIMIT]
        tags["lrsearch.confirmed_schedule"] = repr(found.best.schedule)[:TEXT_LIMIT]
        metrics += [("confirmed", 0, found.best.value)] if found.best.value is not None else []
    return {
        "kind": "end",
        "tags": tags,
        "params": {},
        "metrics": metrics,
        "status": STUDY_STATUS[state],
        "artifacts": [str(file) for file in files],
    }


def describe(result: Result, found: Confirmation) -> str:
    """The parent run's description, in markdown: the sentence, the table, what to type."""
    head, *body = found.rows
    lines = [found.sentence, "", " | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "/") or " " for cell in row) for row in body]
    how = "exact" if found.exact else f"{found.seeds} fresh seeds"
    lines += ["", f"({how}; every peak tuned; * the best baseline)"]
    lines += ["", *(f"- {remark}" for remark in found.remarks)]
    command = f"lrsearch export {result.study} --confirmed --to torch -o schedule.py"
    return "\n".join([*lines, "", f"`{found.best.schedule!r}`", "", f"`{command}`"])


def _numbers(facts: StudyFacts, trial: Trial) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of every number of a trial."""
    if trial.value is not None:
        yield "value", 0, trial.value
    plan = trial.schedule.plan(facts.steps, facts.batch, momentum=facts.setup.momentum)
    done = min(len(plan), max(outcome.updates for outcome in trial.outcomes))
    curves = {"lr": Trace.of(range(done), plan.lr[:done].tolist())}
    for name, column in (("batch", plan.batch), ("momentum", plan.momentum)):
        if (column != column[0]).any():
            curves[name] = Trace.of(range(done), column[:done].tolist())
    for outcome in trial.outcomes:
        suffix = f".{outcome.replicate}" if len(trial.outcomes) > 1 else ""
        curves |= {f"{name}{suffix}": trace for name, trace in outcome.traces.items()}
    # A figure that is its curve's last point would be a second first point of it.
    figures = trial.diagnostics.items()
    yield from ((name, 0, value) for name, value in figures if name not in curves)
    share = STUDY_POINTS // (2 * facts.trials)  # two curves a trial
    points = max(FEWEST_POINTS, min(CURVE_POINTS, share))
    for name, trace in curves.items():
        thin = trace.thin(points)
        yield from ((name, u, v) for u, v in zip(thin.updates, thin.values, strict=True))
