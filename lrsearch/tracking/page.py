"""What MLflow holds of a study: a parent run, and a child run for every trial.

Only the explicit client is used: the fluent API keeps a global active run that would mix with the
user's own. No infinite or NaN number is written, because it would break MLflow's pages.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from lrsearch.contract import StudyFacts
from lrsearch.result import Result, Trace, Trial

__all__ = ["EXPERIMENT", "Page"]

EXPERIMENT = "lrsearch"
#: MLflow's page draws no more points of a curve.
CURVE_POINTS = 500
#: Points of a whole study. At 0.15 ms a point on SQLite, more would outlast a fast search.
STUDY_POINTS = 60_000
FEWEST_POINTS = 50
#: Values that MLflow cuts off or refuses beyond this length, and the most metrics of one call.
TEXT_LIMIT = 5_000
BATCH_LIMIT = 1_000
STATUS = {"finished": "FINISHED", "diverged": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Page:
    """A study's parent run, open for writing.

    Args:
        uri: where MLflow keeps its runs.
        facts: what the study is.

    Attributes:
        run_id: of the parent run.
    """

    def __init__(self, uri: str, facts: StudyFacts) -> None:
        self._facts = facts
        share = STUDY_POINTS // (2 * facts.trials)  # two curves a trial
        self._points = max(FEWEST_POINTS, min(CURVE_POINTS, share))
        with _one_creator(uri), _quiet_migrations():
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment: str = (
                known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
            )
        self.run_id: str = self._existing() or self._new_parent()
        self._client.update_run(self.run_id, status="RUNNING")

    def _existing(self) -> str | None:
        """The parent run of the same study, if there is one."""
        where = f"tags.`lrsearch.id` = '{self._facts.identity}'"
        found = self._client.search_runs([self._experiment], where, max_results=1)
        return found[0].info.run_id if found else None

    def _new_parent(self) -> str:
        facts = self._facts
        run = self._client.create_run(
            self._experiment,
            run_name=facts.study,
            tags={
                "lrsearch.study": facts.study,
                "lrsearch.kind": "study",
                "lrsearch.id": facts.identity,
            },
        )
        words: dict[str, Any] = {
            "objective": facts.setup.name,
            "space": facts.space.name,
            "unit": facts.setup.unit,
            "steps": facts.steps,
            "batch": facts.batch,
            "seeds": facts.seeds,
            "seed": facts.seed,
            "sampler": facts.sampler,
            "storage": str(Path(facts.storage).absolute()),
            **{f"option.{name}": value for name, value in facts.setup.options.items()},
            **{f"space.{name}": entry for name, entry in facts.space.to_dict().items()},
        }
        parameters = [Param(name, str(value)[:TEXT_LIMIT]) for name, value in words.items()]
        self._client.log_batch(run.info.run_id, params=parameters)
        return str(run.info.run_id)

    def add(self, trial: Trial, ended: float) -> None:
        """Writes a child run.

        Args:
            trial: the trial.
            ended: when it ended, in seconds since the epoch.
        """
        facts = self._facts
        began = int((ended - trial.seconds) * 1000)
        run = self._client.create_run(
            self._experiment,
            start_time=began,
            run_name=f"{facts.study}-{trial.index}",
            tags={
                "mlflow.parentRunId": self.run_id,
                "lrsearch.study": facts.study,
                "lrsearch.kind": "trial",
                "lrsearch.trial": str(trial.index),
                "lrsearch.state": trial.state,
            },
        )
        run_id = run.info.run_id
        metrics = [Metric(name, v, began, step) for name, step, v in self._numbers(trial)]
        fields = trial.schedule.to_dict(defaults=False)
        parameters = [Param(name, str(value)) for name, value in fields.items()]
        tags = [RunTag("lrsearch.reason", trial.reason[:TEXT_LIMIT])] if trial.reason else []
        self._client.log_batch(run_id, metrics[:BATCH_LIMIT], parameters, tags)
        for begin in range(BATCH_LIMIT, len(metrics), BATCH_LIMIT):
            self._client.log_batch(run_id, metrics[begin : begin + BATCH_LIMIT])
        self._client.set_terminated(run_id, STATUS[trial.state], int(ended * 1000))

    def _numbers(self, trial: Trial) -> Iterator[tuple[str, int, float]]:
        """Name, step and value of every number of a trial; all of them finite."""
        facts = self._facts
        if trial.value is not None:
            yield "value", 0, trial.value
        yield from ((name, 0, value) for name, value in trial.diagnostics.items())
        plan = trial.schedule.plan(facts.steps, facts.batch, momentum=facts.setup.momentum)
        done = min(len(plan), max(outcome.updates for outcome in trial.outcomes))
        curves = {"lr": Trace.of(range(done), plan.lr[:done].tolist())}
        if (plan.batch != plan.batch[0]).any():
            curves["batch"] = Trace.of(range(done), plan.batch[:done].tolist())
        if (plan.momentum != plan.momentum[0]).any():
            curves["momentum"] = Trace.of(range(done), plan.momentum[:done].tolist())
        for outcome in trial.outcomes:
            suffix = f".{outcome.replicate}" if len(trial.outcomes) > 1 else ""
            curves |= {f"{name}{suffix}": trace for name, trace in outcome.traces.items()}
        for name, trace in curves.items():
            thin = trace.thin(self._points)
            yield from ((name, u, v) for u, v in zip(thin.updates, thin.values, strict=True))

    def close(self, result: Result, state: str) -> None:
        """Writes what the study found; `state` is `finished`, `interrupted` or `failed`."""
        metrics = [
            Metric(f"trials.{name}", count, int(time.time() * 1000), 0)
            for name, count in result.counts.items()
        ]
        parts: dict[str, str] = {"lrsearch.state": state}
        if result.ranked:
            best = result.best
            now = int(time.time() * 1000)
            metrics.append(Metric("best", float(best.value or 0.0), now, best.index))
            parts["lrsearch.best_trial"] = str(best.index)
            parts["lrsearch.best_schedule"] = repr(best.schedule)[:TEXT_LIMIT]
            if result.reference is not None:
                metrics.append(Metric("ratio", result.reference["ratio"], now, best.index))
        tags = [RunTag(name, value) for name, value in parts.items()]
        self._client.log_batch(self.run_id, metrics, tags=tags)
        status = {"finished": "FINISHED", "interrupted": "KILLED"}.get(state, "FAILED")
        self._client.set_terminated(self.run_id, status)


@contextlib.contextmanager
def _one_creator(uri: str) -> Iterator[None]:
    """Processes that create one fresh SQLite database together all crash: one at a time."""
    path = uri.removeprefix("sqlite:///")
    if path == uri or not path:
        yield
        return
    with Path(f"{path}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _quiet_migrations() -> Iterator[None]:
    """MLflow announces every table of a fresh database; nobody asked."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
