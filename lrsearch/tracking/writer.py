"""The process that writes to MLflow: reads records from stdin and prints answers to stdout.

Records and answers are JSON objects, one per line. It uses MLflow's client, because the fluent
API has a global active run. If the search is killed, stdin ends without an `end` record, and the
parent run is marked as killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from lrsearch.tracking.connect import FAILURES, connect

EXPERIMENT = "lrsearch"
ABOUT = (
    "Searches of learning-rate schedules by lrsearch. Each study is a parent run, and its "
    "description reports the result. The trials of a study and the schedules of its comparison "
    "are child runs. The metric `value` is minimised."
)
EXPERIMENT_TAGS = {
    "mlflow.note.content": ABOUT,
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "value",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "False",
}
#: Largest number of metrics per call, and of runs per page, that MLflow allows.
BATCH_LIMIT, PAGE = 1_000, 1_000
#: Seconds without attempts after a failure, because each attempt may wait for a dead server.
PAUSE = 30.0


def experiment_name() -> str:
    """Return the name of the experiment of all studies, which MLflow's own variable sets."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def parent_of(identity: str) -> str:
    """Return the filter that finds a study's parent run."""
    return f"tags.`lrsearch.id` = '{identity}' and tags.`lrsearch.kind` = 'study'"


def view_key(identity: str) -> str:
    """Return the name of a study's view in its experiment."""
    return f"lrsearch-{identity}"


class Writer:
    """The parent run of a study, open for writing.

    Args:
        uri: MLflow's database or server.
        study: record of the study.

    Attributes:
        run_id: id of the parent run.
        have: ids of its child runs, by key.
        failed: keys of the child runs whose trial failed.
    """

    def __init__(self, uri: str, study: dict[str, Any]) -> None:
        self._uri = uri
        self._client = connect(uri)
        self._experiment = self._find_experiment(experiment_name())
        self.have: dict[str, str] = {}
        self.failed: set[str] = set()
        with one_opener(study["identity"]):
            found = self._client.search_runs(
                [self._experiment], parent_of(study["identity"]), max_results=1
            )
            self.run_id = str(found[0].info.run_id) if found else self._create(study)
        if found:
            self._read_children()
            self._client.log_batch(self.run_id, tags=_tags(study))
        elif study["data"]:
            self._client.log_inputs(self.run_id, [_dataset(study["data"])])
        self._client.update_run(self.run_id, status="RUNNING")
        view = f"mlflow.sharedViewState.{view_key(study['identity'])}"
        self._client.set_experiment_tag(self._experiment, view, json.dumps(study["view"]))

    def write(self, record: dict[str, Any]) -> None:
        """Write a record."""
        {"child": self._child, "progress": self._progress, "end": self._end}[record["kind"]](
            record
        )

    def _find_experiment(self, name: str) -> str:
        """Find or create the experiment; its primary metric determines the default columns."""
        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                made = str(self._client.create_experiment(name))
            except MlflowException:
                known = self._client.get_experiment_by_name(name)
                if known is None:
                    raise
        if known is not None:  # perhaps another process has just created it
            return str(known.experiment_id)
        for key, value in EXPERIMENT_TAGS.items():
            self._client.set_experiment_tag(made, key, value)
        return made

    def _read_children(self) -> None:
        """Read which child runs exist; delete those that a killed writer left incomplete."""
        where, token = f"tags.`mlflow.parentRunId` = '{self.run_id}'", None
        while True:
            page = self._client.search_runs(
                [self._experiment], where, max_results=PAGE, page_token=token
            )
            for run in page:
                if run.info.status == "RUNNING":
                    self._client.set_tag(run.info.run_id, "lrsearch.state", "lost")
                    self._client.set_terminated(run.info.run_id, "KILLED")
                    self._client.delete_run(run.info.run_id)
                else:
                    key = run.data.tags.get("lrsearch.key", "")
                    # Earlier versions named the schedules of a comparison `confirmation-`.
                    self._keep(
                        key.replace("confirmation-", "comparison-"), run.info.run_id, run.data.tags
                    )
            token = page.token
            if not token:
                return

    def _child(self, record: dict[str, Any]) -> None:
        """Write a child run; keep a trial that did not fail, replace any other child run."""
        key = record["tags"]["lrsearch.key"]
        old = self.have.get(key)
        trial = record["tags"]["lrsearch.kind"] == "trial"
        if old is not None and trial and key not in self.failed:
            return
        record["tags"]["mlflow.parentRunId"] = self.run_id
        run_id = self._create(record)
        self._client.set_terminated(run_id, record["status"], record["ended"])
        if old is not None:
            self._client.delete_run(old)
        self._keep(key, run_id, record["tags"])

    def _keep(self, key: str, run_id: str, tags: Mapping[str, str]) -> None:
        self.have[key] = run_id
        failed = tags.get("lrsearch.state") == "failed"
        (self.failed.add if failed else self.failed.discard)(key)

    def _progress(self, record: dict[str, Any]) -> None:
        """Add a point to the convergence curve."""
        self._log(self.run_id, {"params": {}, "began": _now(), **record})

    def _end(self, record: dict[str, Any]) -> None:
        """Write the result of the study; files last, because their store may fail separately."""
        table = record["leaderboard"]
        if table:
            record["tags"]["mlflow.loggedArtifacts"] = json.dumps(
                [{"path": "leaderboard.json", "type": "table"}]
            )
        self._log(self.run_id, {**record, "began": _now()}, _tags(record))
        self._client.set_terminated(self.run_id, record["status"])
        if table:
            rows = [list(row) for row in zip(*table.values(), strict=True)]
            content = {"columns": list(table), "data": rows}
            self._client.log_dict(self.run_id, content, "leaderboard.json")
        for path in record["artifacts"]:
            self._client.log_artifact(self.run_id, path)
        if record.get("model"):
            self._model(record["model"])
            self._client.set_terminated(self.run_id, record["status"])

    def _model(self, record: dict[str, str]) -> None:
        """Log a model as a graph, which loads without pickle.

        Only the fluent API logs models. Its global state does not leave this process.
        """
        import mlflow
        import numpy as np
        import torch
        from mlflow.pytorch import log_model

        mlflow.set_tracking_uri(self._uri)
        with mlflow.start_run(run_id=self.run_id):
            log_model(
                torch.export.load(record["model"]).module(),
                name="model",
                input_example=np.load(record["example"]),
                serialization_format="pt2",
                registered_model_name=record.get("name") or None,
                pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
            )

    def _create(self, record: dict[str, Any]) -> str:
        run = self._client.create_run(
            self._experiment,
            start_time=record["began"],
            run_name=record["name"],
            tags=record["tags"],
        )
        run_id = str(run.info.run_id)
        try:
            self._log(run_id, record)
        except FAILURES:
            with contextlib.suppress(*FAILURES):  # a part of a record is not shown
                self._client.set_terminated(run_id, "FAILED")
                self._client.delete_run(run_id)
            raise
        return run_id

    def answers(self) -> bool:
        """Return whether MLflow answers, so that an error concerns one record only."""
        with contextlib.suppress(*FAILURES):
            self._client.get_run(self.run_id)
            return True
        return False

    def _log(self, run_id: str, record: dict[str, Any], tags: Sequence[RunTag] = ()) -> None:
        """Write metrics, parameters and tags of a record in as few calls as MLflow allows."""
        parameters = [Param(name, value) for name, value in record["params"].items()]
        metrics = [
            Metric(name, value, record["began"], step) for name, step, value in record["metrics"]
        ]
        room = BATCH_LIMIT - len(parameters) - len(tags)
        self._client.log_batch(run_id, metrics[:room], parameters, tags)
        for begin in range(room, len(metrics), BATCH_LIMIT):
            self._client.log_batch(run_id, metrics[begin : begin + BATCH_LIMIT])


def _now() -> int:
    return int(1000 * time.time())


def _tags(record: dict[str, Any]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in record["tags"].items()]


def _dataset(data: dict[str, Any]) -> DatasetInput:
    """Return the training data as an MLflow dataset."""
    return DatasetInput(
        Dataset(
            name=data["name"],
            digest=data["digest"],
            source_type="local",
            source=json.dumps({"source": data["source"]}),
            profile=json.dumps(data["profile"]),
        ),
        [InputTag("mlflow.data.context", "training")],
    )


@contextlib.contextmanager
def one_opener(identity: str) -> Iterator[None]:
    """Lock a study's parent run: one writer of this machine at a time finds or creates it.

    The writer of a killed search may still be creating it while the next writer looks for it.
    """
    name = hashlib.sha256(identity.encode()).hexdigest()[:24]
    if (folder := _own_folder()) is None:
        yield
        return
    path = folder / f"{name}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _own_folder() -> Path | None:
    """Return a folder of this user for locks; None if another user has taken its name."""
    folder = Path(tempfile.gettempdir(), f"lrsearch-{os.getuid()}")
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        return folder if private and found.st_uid == os.getuid() else None
    return None


def main() -> None:
    """Write every record of stdin; answer each with the parent run's id and the error, if any."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # so that MLflow's own output does not mix with answers
    writer: Writer | None = None
    ended, failed, study = False, "", None
    # The search passes its pid, because it may have been killed while MLflow was imported.
    tried, parent = -PAUSE, int(os.environ["LRSEARCH_WRITER_PARENT"])
    for line in sys.stdin:
        if os.getppid() != parent:
            break  # the search was killed; the next search writes the rest
        record, trouble = json.loads(line), ""
        if record["kind"] == "study":
            study = record
        last = record["kind"] == "end"
        if failed and time.monotonic() - tried < PAUSE and not last:
            trouble = failed
        else:
            try:
                if writer is None:
                    writer = Writer(os.environ["LRSEARCH_WRITER_URI"], study or {})
                if record is not study:
                    writer.write(record)
                failed, ended = "", last
            except FAILURES as error:
                trouble = " ".join(str(error).split())[:200] or type(error).__name__
                refused = writer is not None and writer.answers()
                failed, tried = "" if refused else trouble, time.monotonic()
        answer: dict[str, Any] = {"run_id": writer.run_id if writer else None, "trouble": trouble}
        if record is study and writer is not None:
            answer["have"] = list(writer.have)
            answer["failed"] = list(writer.failed)
        with contextlib.suppress(BrokenPipeError):  # the search has ended; write its records
            print(json.dumps(answer), file=answers, flush=True)
    if writer is not None and not ended:
        with contextlib.suppress(*FAILURES):
            writer.write(
                {
                    "kind": "end",
                    "tags": {"lrsearch.state": "killed"},
                    "params": {},
                    "metrics": [],
                    "status": "KILLED",
                    "artifacts": [],
                    "leaderboard": {},
                }
            )


if __name__ == "__main__":
    main()
