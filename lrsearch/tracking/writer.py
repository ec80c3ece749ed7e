"""The process that writes to MLflow: records in on stdin, one JSON object a line, answers out.

It is run by path and knows nothing of lrsearch. Only MLflow's explicit client is used: the fluent
API keeps a global active run. If the search is killed, stdin ends without an `end` record, and the
parent run is marked as killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy.exc
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

EXPERIMENT = "lrsearch"
#: MLflow refuses more metrics in one call.
BATCH_LIMIT = 1_000
FAILURES = (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ValueError)


class Writer:
    """A study's parent run, open for writing.

    Args:
        uri: where MLflow keeps its runs.
        study: the record of the study.
    """

    def __init__(self, uri: str, study: dict[str, Any]) -> None:
        with one_creator(uri):
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment: str = (
                known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
            )
        where = f"tags.`lrsearch.id` = '{study['identity']}'"
        found = self._client.search_runs([self._experiment], where, max_results=1)
        self.run_id: str = found[0].info.run_id if found else self._create(study)
        self._client.update_run(self.run_id, status="RUNNING")

    def trial(self, record: dict[str, Any]) -> None:
        """Writes a child run."""
        record["tags"]["mlflow.parentRunId"] = self.run_id
        run_id = self._create(record)
        self._client.set_terminated(run_id, record["status"], record["ended"])

    def end(self, record: dict[str, Any]) -> None:
        """Writes what the study found."""
        record["began"] = int(1000 * time.time())
        tags = [RunTag(name, value) for name, value in record["tags"].items()]
        self._log(self.run_id, record, tags)
        for path in record["artifacts"]:
            self._client.log_artifact(self.run_id, path)
        self._client.set_terminated(self.run_id, record["status"])

    def _create(self, record: dict[str, Any]) -> str:
        run = self._client.create_run(
            self._experiment,
            start_time=record["began"],
            run_name=record["name"],
            tags=record["tags"],
        )
        run_id = str(run.info.run_id)
        self._log(run_id, record)
        return run_id

    def _log(self, run_id: str, record: dict[str, Any], tags: Sequence[RunTag] = ()) -> None:
        """Metrics, parameters and tags of a record, in as few calls as MLflow allows."""
        parameters = [Param(name, value) for name, value in record["params"].items()]
        numbers = record["metrics"]
        metrics = [Metric(name, value, record["began"], step) for name, step, value in numbers]
        room = BATCH_LIMIT - len(parameters) - len(tags)
        self._client.log_batch(run_id, metrics[:room], parameters, tags)
        for begin in range(room, len(metrics), BATCH_LIMIT):
            self._client.log_batch(run_id, metrics[begin : begin + BATCH_LIMIT])


@contextlib.contextmanager
def one_creator(uri: str) -> Iterator[None]:
    """Processes that create one fresh SQLite database together all crash: one at a time."""
    path = uri.removeprefix("sqlite:///")
    if path == uri or not path:
        yield
        return
    with Path(f"{path}.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Writes every record of stdin; answers each with what became of it."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever MLflow prints is no answer
    writer: Writer | None = None
    ended = False
    for line in sys.stdin:
        record, trouble = json.loads(line), ""
        try:
            if record["kind"] == "study":
                writer = Writer(sys.argv[1], record)
            elif writer is None:
                trouble = "it could not be opened"  # no second try: each may cost minutes
            elif record["kind"] == "trial":
                writer.trial(record)
            else:
                writer.end(record)
                ended = True
        except FAILURES as error:
            trouble = " ".join(str(error).split())[:200] or type(error).__name__
        run_id = None if writer is None else writer.run_id
        with contextlib.suppress(BrokenPipeError):  # the search is gone, its records are not
            print(json.dumps({"run_id": run_id, "trouble": trouble}), file=answers, flush=True)
    if writer is not None and not ended:
        with contextlib.suppress(*FAILURES):
            tags = {"lrsearch.state": "killed"}
            empty: dict[str, Any] = {"metrics": [], "params": {}, "artifacts": []}
            writer.end({**empty, "tags": tags, "status": "KILLED"})


if __name__ == "__main__":
    main()
