"""`MlflowTracker`: sends a study to MLflow through a separate writer process.

A slow server does not delay training, and a dead server does not stop it. The search does not
import MLflow, which takes a second, and does not share its interpreter with it. Records that could
not be written are kept in a file, and one warning at the end reports them. The next search or
`lrsearch sync` writes what the parent run lacks.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from lrsearch.errors import log
from lrsearch.outcome import Trial
from lrsearch.redaction import redact, redact_text
from lrsearch.result import Result
from lrsearch.study.location import storage_option
from lrsearch.tracking.child_runs import comparison_records, trial_key, trial_record
from lrsearch.tracking.parent_run import best_so_far, end_record, study_record
from lrsearch.tracking.spool import Spool
from lrsearch.tracking.tracker import StudyFacts
from lrsearch.tracking.uri import check_uri, default_uri
from lrsearch.tracking.valid_records import valid_record

#: The module of the writer process.
WRITER = "lrsearch.tracking.writer"
#: Seconds that a search waits at its end for the next answer of the writer.
PATIENCE = 60.0

#: Settings of MLflow's client, unless the user has set them. A dead server costs seconds, not
#: minutes.
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

#: A function that writes files about a study into a folder and returns their paths.
Draw = Callable[[Result, Path], list[Path]]


class MlflowTracker:
    """A tracker that writes a study to MLflow.

    Args:
        uri: database or server; None for MLflow's own default: the URI set in the environment or
            in Python, else `mlflow.db` in the current folder.
        draw: function that writes files about a study into a folder; the parent run stores them.
        keep: function that writes the winning model into a folder and returns paths by `model` and
            `example`, and `name` if the model is to be registered. None stores no model.

    Attributes:
        uri: the URI without its password.
        missed: number of records that could not be written, known after `finish`.
        run_id: id of the parent run, or None if it is not known yet.
    """

    def __init__(
        self,
        uri: str | None = None,
        draw: Draw | None = None,
        keep: Callable[[Result, Path], dict[str, str]] | None = None,
    ) -> None:
        self._draw, self._keep, self._here = draw, keep, Path.cwd()
        self._uri = check_uri(default_uri() if uri is None else uri)
        self.uri: str | None = redact(self._uri)
        self.run_id: str | None = None
        self._records: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._pending: deque[dict[str, Any]] = deque()
        self._missed: list[dict[str, Any]] = []
        self._opened = threading.Event()
        self._answered = self.missed = 0
        self._trouble = ""
        self._best: float | None = None
        self._told: set[str] = set()

    def start(self, facts: StudyFacts, trials: Iterable[Trial] = ()) -> None:
        """Open or continue the parent run, and write the trials that it lacks."""
        self._facts, self._spool, self._known = facts, Spool(facts.spool), []
        for trial in trials:
            progress, self._best = best_so_far(trial, self._best)
            self._known.append((trial, progress))
        self._process = subprocess.Popen(  # noqa: S603  # our own file, our own interpreter
            # -P: Python must not import the user's files here in place of MLflow's modules.
            [sys.executable, "-P", "-m", WRITER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._here,  # user code may change the working folder before this process leads
            text=True,
            env={
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **HTTP,
                **os.environ,
                "LRSEARCH_WRITER_URI": self._uri,  # not an argument: those show its password
                "LRSEARCH_WRITER_PARENT": str(os.getpid()),
            },
            start_new_session=True,  # so that Ctrl-C reaches only the search
        )
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._feed, self._hear)]
        for thread in self._threads:
            thread.start()
        self._put(study_record(facts))

    def _put(self, record: dict[str, Any]) -> None:
        """Queue a record; tell once under which names MLflow shows the metrics that it refuses."""
        record, renamed = valid_record(record)
        for old, new in renamed.items():
            if old not in self._told:
                log.warning("MLflow allows no metric %r and shows it as %r", old, new)
                self._told.add(old)
        self._records.put(record)

    def trial_ended(self, trial: Trial) -> None:
        """Queue a child run, and a point of the convergence curve if the trial is a new best."""
        self._put(trial_record(self._facts, trial))
        progress, self._best = best_so_far(trial, self._best)
        if progress is not None:
            self._put(progress)

    def finish(self, result: Result, state: str) -> None:
        """Close the parent run, and wait until all records are written or the writer hangs."""
        self._opened.wait(PATIENCE)  # until earlier trials that it lacks are queued
        with tempfile.TemporaryDirectory(prefix="lrsearch-") as folder:
            files = [Path(folder) / "space.yaml"]
            files[0].write_text(self._facts.spec.space.to_yaml(), encoding="utf-8")
            if self._draw is not None and result.ranked:
                files += self._draw(result, Path(folder))
            if result.comparison is not None:
                for record in comparison_records(self._facts, result, result.comparison):
                    self._put(record)
            end = end_record(self._facts, result, state, files)
            if self._keep is not None and state == "finished" and result.ranked:
                end["model"] = self._keep(result, Path(folder))
            self._put(end)
            self._records.put(None)
            self._wait()
        lost = [*self._missed, *self._pending]
        while not self._records.empty():
            unsent = self._records.get()
            lost += [] if unsent is None else [unsent]
        self.missed = len(lost)
        self._spool.write(lost)
        if lost:
            log.warning(
                "%d records could not be written to MLflow at %s (%s); all trials are saved in "
                "%s; upload them with `lrsearch sync %s%s` when MLflow answers",
                len(lost),
                self.uri,
                self._trouble or f"the writer ended with exit code {self._process.returncode}",
                result.storage,
                result.study,
                storage_option(result.study, result.storage),
            )

    def _wait(self) -> None:
        """Wait until the writer has ended; kill it if it no longer answers."""
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

    def _feed(self) -> None:
        """Send records to the writer. A full pipe blocks only this thread."""
        # `finish` reports a writer that has died.
        with suppress(BrokenPipeError), cast(IO[str], self._process.stdin) as pipe:
            while (record := self._records.get()) is not None:
                self._pending.append(record)
                pipe.write(json.dumps(record, allow_nan=False) + "\n")
                pipe.flush()

    def _hear(self) -> None:
        """Read the writer's answers, and collect the records that it could not write."""
        for line in cast(IO[str], self._process.stdout):
            answer, record = json.loads(line), self._pending.popleft()
            self.run_id = answer["run_id"] or self.run_id
            self._answered += 1
            if answer["trouble"]:
                self._trouble = self._trouble or redact_text(answer["trouble"], self._uri)
                self._missed.append(record)
            if record["kind"] == "study":
                self._catch_up(set(answer.get("have", ())), set(answer.get("failed", ())))
        self._opened.set()

    def _catch_up(self, have: set[str], failed: set[str]) -> None:
        """Queue the earlier trials that the parent run lacks, with full curves if spooled.

        Args:
            have: keys of its child runs.
            failed: keys of those whose trial failed; it may have been retried since.
        """
        spooled = self._spool.read(self._facts.spec.id)
        for trial, progress in self._known:
            key = trial_key(trial)
            if key not in have or (key in failed and trial.state != "failed"):
                record, kept = trial_record(self._facts, trial), spooled.get(key)
                if kept is not None and kept.state == trial.state:
                    record |= {"began": kept.began, "ended": kept.ended, "metrics": kept.metrics}
                self._put(record)
                if progress is not None:
                    self._put(progress)
        self._opened.set()
