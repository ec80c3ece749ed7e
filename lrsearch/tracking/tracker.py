"""MLflow as a tracker: all writing happens in a process of its own.

A slow server never holds up training, a dead one never stops it, and MLflow's second of imports
and share of the interpreter are not the search's. What cannot be written is counted and reported
once at the end; the study's storage stays the truth.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from lrsearch.contract import StudyFacts
from lrsearch.result import Result, Trial
from lrsearch.tracking.records import end_record, study_record, trial_record
from lrsearch.tracking.uri import check_uri, redact

__all__ = ["MlflowTracker"]

DEFAULT_DATABASE = "sqlite:///mlflow.db"
WRITER = Path(__file__).with_name("writer.py")
#: A search that has ended waits for what is still unwritten as long as something is written every
#: so many seconds.
PATIENCE = 60.0

#: Writes files about a study into a folder.
Draw = Callable[[Result, Path], list[Path]]

log = logging.getLogger("lrsearch")


class MlflowTracker:
    """Writes a study to MLflow.

    Args:
        uri: a database or server; None is MLflow's own: what its environment or its caller has
            set, else `mlflow.db` in this folder.
        draw: writes files about a study that is confirmed into a folder, for its parent run.

    Attributes:
        uri: the same, without its password.
        run_id: of the parent run, once it is known.
    """

    def __init__(self, uri: str | None = None, draw: Draw | None = None) -> None:
        self._draw = draw
        self._uri = check_uri(_default() if uri is None else uri)
        self.uri: str | None = redact(self._uri)
        self.run_id: str | None = None
        self._records: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._sent = 0
        self._written = 0
        self._answered = 0
        self._trouble = ""

    def start(self, facts: StudyFacts) -> None:
        """Opens or continues the parent run."""
        self._facts = facts
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", **os.environ}  # a user's choice stands
        self._process = subprocess.Popen(  # noqa: S603  # our own file, our own interpreter
            # -P: a file of the user's in this folder must not pass for MLflow or its parts.
            [sys.executable, "-P", str(WRITER), self._uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is the search's to handle
        )
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._feed, self._hear)]
        for thread in self._threads:
            thread.start()
        self._put(study_record(facts))

    def trial_ended(self, trial: Trial) -> None:
        """Queues a child run."""
        self._put(trial_record(self._facts, trial))

    def finish(self, result: Result, state: str) -> None:
        """Closes the parent run and waits until all is written, or nothing more seems to be."""
        with tempfile.TemporaryDirectory(prefix="lrsearch-") as folder:
            files: list[Path] = []
            if self._draw is not None and result.confirmed is not None:
                files = self._draw(result, Path(folder))
            self._put(end_record(result, state, files))
            self._records.put(None)
            self._wait()
        if self._written < self._sent:
            log.warning(
                "MLflow at %s missed %d of %d records (%s); the study itself is whole in %s",
                self.uri,
                self._sent - self._written,
                self._sent,
                self._trouble or f"its writer ended with code {self._process.returncode}",
                result.storage,
            )

    def _wait(self) -> None:
        """Until the writer has ended, or has written nothing for a while."""
        before = -1
        while self._threads[1].is_alive() and before < self._answered:
            before = self._answered
            self._threads[1].join(PATIENCE)
        if self._threads[1].is_alive():
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        cast(IO[str], self._process.stdout).close()

    def _put(self, record: dict[str, Any]) -> None:
        self._sent += 1
        self._records.put(record)

    def _feed(self) -> None:
        """Hands records to the writer; a pipe that is full blocks this thread and no other."""
        pipe = cast(IO[str], self._process.stdin)
        try:
            while (record := self._records.get()) is not None:
                pipe.write(json.dumps(record, allow_nan=False) + "\n")
                pipe.flush()
            pipe.close()
        except BrokenPipeError:
            return  # the writer has died, which `finish` reports

    def _hear(self) -> None:
        """Counts what the writer says it has written."""
        pipe = cast(IO[str], self._process.stdout)
        for line in pipe:
            answer = json.loads(line)
            self.run_id = answer["run_id"]
            self._answered += 1
            self._written += not answer["trouble"]
            self._trouble = self._trouble or answer["trouble"]


def _default() -> str:
    """MLflow's own default, without importing it where nobody has."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_DATABASE
