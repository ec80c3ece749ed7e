"""The child runs of a study in MLflow: its trials, and the schedules of its comparison.

A record is a plain JSON object with the name, tags, parameters and metrics of a run. It contains
no infinite or NaN numbers, because they break MLflow's pages.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lrsearch.comparison import Comparison
from lrsearch.contender import Contender
from lrsearch.outcome import Trial
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.trace import Trace
from lrsearch.tracking.metric_points import mean_trace, planned, points, share
from lrsearch.tracking.tracker import StudyFacts
from lrsearch.tracking.valid_records import code_block

#: Largest length of a text, in characters. MLflow truncates or rejects longer ones.
TEXT_LIMIT = 5_000
STATUS = {"finished": "FINISHED", "diverged": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


def trial_record(facts: StudyFacts, trial: Trial) -> dict[str, Any]:
    """Return the child run of a trial that has ended."""
    ended = time.time()
    tags = {
        **_tags(facts, "trial", trial_key(trial)),
        "lrsearch.trial": str(trial.index),
        "lrsearch.state": trial.state,
        "lrsearch.reason": trial.reason[:TEXT_LIMIT],
        "lrsearch.retries": str(trial.retries or ""),
        "mlflow.note.content": code_block(trial.details[-TEXT_LIMIT:]) if trial.details else "",
    }
    return {
        "kind": "child",
        "name": f"{trial.index:04d} {trial.schedule.decay} {_number(trial.schedule.peak)}",
        "began": int(1000 * (ended - trial.seconds)),
        "ended": int(1000 * ended),
        "status": STATUS[trial.state],
        "tags": {name: text for name, text in tags.items() if text},
        "params": _params(facts, trial.schedule),
        "metrics": list(_trial_numbers(facts, trial)),
    }


def trial_key(trial: Trial) -> str:
    """Return the key of a trial's run, unique within its study."""
    return f"trial-{trial.index:04d}"


def comparison_records(
    facts: StudyFacts, result: Result, found: Comparison
) -> Iterator[dict[str, Any]]:
    """Yield one child run per schedule of the comparison: the mean over its fresh seeds."""
    now = int(1000 * time.time())
    versus, chosen = found.versus, result.recommended.name
    for name, contender in found.contenders.items():
        tags = {
            **_tags(facts, "comparison", f"comparison-{contender.name}"),
            "lrsearch.contender": contender.name,
            "lrsearch.role": "searched" if contender is found.best else "baseline",
            **({"lrsearch.recommended": "true"} if name == chosen else {}),
            "lrsearch.state": "diverged" if contender.value is None else "finished",
        }
        numbers = list(_contender_numbers(facts, contender))
        if name in versus:
            comparison = versus[name]
            tags["lrsearch.verdict"] = comparison.verdict
            if comparison.difference is not None:
                numbers.append(("searched_minus_it", 0, comparison.difference))
        yield {
            "kind": "child",
            "name": f"compare {contender.name} {_number(contender.schedule.peak)}",
            "began": now,
            "ended": now,
            "status": "FINISHED",
            "tags": tags,
            "params": _params(facts, contender.schedule),
            "metrics": numbers,
        }


def _tags(facts: StudyFacts, kind: str, key: str) -> dict[str, str]:
    """Return the tags of a child run; `lrsearch.key` identifies it within its study."""
    return {
        "lrsearch.study": facts.spec.name,
        "lrsearch.id": facts.spec.id,
        "lrsearch.kind": kind,
        "lrsearch.key": key,
    }


def _number(value: float) -> str:
    """Return a number like 3.1e-3, which sorts and reads better than 0.0031."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _params(facts: StudyFacts, schedule: Schedule) -> dict[str, str]:
    """Return the fields that the space names or that differ from their defaults.

    `log10_peak` is added because MLflow's parallel coordinates have no logarithmic axis.
    """
    named = {*facts.spec.space.entries, *schedule.to_dict(defaults=False)}
    params = {name: str(value) for name, value in schedule.to_dict().items() if name in named}
    return {**params, "log10_peak": f"{math.log10(schedule.peak):.6g}"}


def _trial_numbers(facts: StudyFacts, trial: Trial) -> Iterator[tuple[str, int, float]]:
    """Yield name, step and value of every metric of a trial."""
    if trial.value is not None:
        yield "value", 0, trial.value
    yield "seconds", 0, trial.seconds
    plan = facts.spec.budget.plan(trial.schedule)
    done = min(len(plan), max(outcome.updates for outcome in trial.outcomes))
    names = dict.fromkeys(name for o in trial.outcomes for name in o.traces)
    curves = planned(plan, done) | {
        name: mean_trace([o.traces[name] for o in trial.outcomes if name in o.traces])
        for name in names
    }
    # A figure with the name of a curve would add a point to that curve at step 0.
    yield from ((n, 0, value) for n, value in trial.diagnostics.items() if n not in curves)
    yield from points(curves, share(facts.spec.trials))


def _contender_numbers(
    facts: StudyFacts, contender: Contender
) -> Iterator[tuple[str, int, float]]:
    low, high = contender.interval or (None, None)
    figures = {
        "value": contender.value,
        "value_low": low,
        "value_high": high,
        "seeds": len(contender.values),
        "seeds_diverged": contender.diverged,
    }
    yield from ((name, 0, float(x)) for name, x in figures.items() if x is not None)
    plan = facts.spec.budget.plan(contender.schedule)
    curves: Mapping[str, Trace] = planned(plan, len(plan))
    if contender.losses:
        curves = {**curves, "loss": mean_trace(contender.losses)}
    yield from points(curves, share(facts.spec.trials))
