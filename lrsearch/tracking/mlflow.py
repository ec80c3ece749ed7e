"""MLflow: a parent run for the study, a child run for every trial.

All writing happens in one thread of its own, so that a slow server never holds up training, and by
an explicit client: the fluent API keeps a global active run that would mix with the user's own.
What cannot be written is counted and reported once; the study's storage stays the truth.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Set before the import, which reads it; a user's own choice stands.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import sqlalchemy.exc
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from lrsearch.contract import StudyFacts
from lrsearch.result import Result, Trace, Trial
from lrsearch.tracking.uri import check_uri, redact

__all__ = ["EXPERIMENT", "MlflowTracker"]

EXPERIMENT = "lrsearch"
DEFAULT_DATABASE = "sqlite:///mlflow.db"
#: MLflow's page draws no more points of a curve.
CURVE_POINTS = 500
#: Points of a whole study. At 0.15 ms a point on SQLite, more would outlast a fast search.
STUDY_POINTS = 60_000
#: Values that MLflow cuts off or refuses beyond this length.
TEXT_LIMIT = 5_000
BATCH_LIMIT = 1_000
#: How long a search that has ended waits for what is still unwritten, in seconds.
PATIENCE = 120.0
STATUS = {"finished": "FINISHED", "diverged": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
FAILURES = (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ValueError)

log = logging.getLogger("lrsearch")


class MlflowTracker:
    """Writes a study to MLflow.

    Args:
        uri: a database or server; None is MLflow's own: what its environment or its caller has
            set, else `mlflow.db` in this folder.

    Attributes:
        uri: the same, without its password.
        run_id: of the parent run, once it is known.
    """

    def __init__(self, uri: str | None = None) -> None:
        if uri is None:
            is_set = mlflow.is_tracking_uri_set()
            uri = mlflow.get_tracking_uri() if is_set else DEFAULT_DATABASE
        uri = check_uri(uri)
        self.uri: str | None = redact(uri)
        self.run_id: str | None = None
        self._uri = uri
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="lrsearch-mlflow", daemon=True)
        self._points = CURVE_POINTS
        self._lost = 0
        self._trouble = ""

    def start(self, facts: StudyFacts) -> None:
        """Opens or continues the parent run, in the writer's thread."""
        self._facts = facts
        curves = 2 * facts.trials
        self._points = max(50, min(CURVE_POINTS, STUDY_POINTS // curves))
        self._jobs.put(self._open)
        self._thread.start()

    def trial_ended(self, trial: Trial) -> None:
        """Queues a child run."""
        ended = time.time()
        self._jobs.put(lambda: self._child(trial, ended))

    def finish(self, result: Result, state: str) -> None:
        """Closes the parent run and waits until all is written."""
        self._jobs.put(lambda: self._close(result, state))
        self._jobs.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.warning("MLflow at %s is still writing; what is left is given up", self.uri)
        elif self._lost:
            log.warning(
                "MLflow at %s missed %d of this study's records (%s); the study is complete in %s",
                self.uri,
                self._lost,
                self._trouble,
                result.storage,
            )

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except FAILURES as error:
                self._lost += 1
                self._trouble = " ".join(str(error).split())[:200]

    def _open(self) -> None:
        with _one_creator(self._uri), _quiet_migrations():
            self._client = MlflowClient(tracking_uri=self._uri)
            known = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment = (
                known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
            )
        self.run_id = self._existing() or self._new_parent()
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

    def _child(self, trial: Trial, ended: float) -> None:
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
        done = max(outcome.updates for outcome in trial.outcomes)
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

    def _close(self, result: Result, state: str) -> None:
        if self.run_id is None:
            return
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
