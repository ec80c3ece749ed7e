"""MLflow as a tracker: all writing happens in a process of its own.

A slow server never holds up training, a dead one never stops it, and MLflow's second of imports
and share of the interpreter are not the search's. What cannot be written is kept beside the study,
which says so once at the end; whoever opens the parent run next writes what it lacks.
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
from lrsearch.redaction import redact, redact_text
from lrsearch.result import Result, Trial
from lrsearch.tracking.child_runs import comparison_records, trial_key, trial_record
from lrsearch.tracking.parent_run import best_so_far, end_record, study_record
from lrsearch.tracking.spool import Spool
from lrsearch.tracking.tracker import StudyFacts
from lrsearch.tracking.uri import check_uri, default_uri

WRITER = Path(__file__).with_name("writer.py")
#: A search that has ended waits for what is still unwritten as long as something is written every
#: so many seconds.
PATIENCE = 60.0

#: Of MLflow's client, unless the user has set them: a dead server costs seconds, not minutes.
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

#: Writes files about a study into a folder.
Draw = Callable[[Result, Path], list[Path]]


class MlflowTracker:
    """Writes a study to MLflow.

    Args:
        uri: a database or server; None is MLflow's own: what its environment or its caller has
            set, else `mlflow.db` in this folder.
        draw: writes files about a study into a folder, for its parent run.
        keep: writes the winning model into a folder; `model`, `example` and perhaps `name`, under
            which it is registered. None is no model.

    Attributes:
        uri: the same, without its password.
        missed: how many records could not be written, once it has finished.
        run_id: of the parent run, once it is known.
    """

    def __init__(
        self,
        uri: str | None = None,
        draw: Draw | None = None,
        keep: Callable[[Result, Path], dict[str, str]] | None = None,
    ) -> None:
        self._draw, self._keep = draw, keep
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

    def start(self, facts: StudyFacts, trials: Iterable[Trial] = ()) -> None:
        """Opens or continues the parent run, and writes those trials that it lacks."""
        self._facts, self._spool, self._known = facts, Spool(facts.spool), []
        for trial in trials:
            progress, self._best = best_so_far(trial, self._best)
            self._known.append((trial, progress))
        self._process = subprocess.Popen(  # noqa: S603  # our own file, our own interpreter
            # -P: a file of the user's in this folder must not pass for MLflow or its parts.
            [sys.executable, "-P", str(WRITER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **HTTP,
                **os.environ,
                "LRSEARCH_WRITER_URI": self._uri,  # which may hold a password
                "LRSEARCH_WRITER_PARENT": str(os.getpid()),
            },
            start_new_session=True,  # Ctrl-C is the search's to handle
        )
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._feed, self._hear)]
        for thread in self._threads:
            thread.start()
        self._records.put(study_record(facts))

    def trial_ended(self, trial: Trial) -> None:
        """Queues a child run, and a point of the convergence curve where it is a new best."""
        self._records.put(trial_record(self._facts, trial))
        progress, self._best = best_so_far(trial, self._best)
        if progress is not None:
            self._records.put(progress)

    def finish(self, result: Result, state: str) -> None:
        """Closes the parent run and waits until all is written, or nothing more seems to be."""
        self._opened.wait(PATIENCE)  # for what the parent run lacks of earlier trials
        with tempfile.TemporaryDirectory(prefix="lrsearch-") as folder:
            files = [Path(folder) / "space.yaml"]
            files[0].write_text(self._facts.spec.space.to_yaml(), encoding="utf-8")
            if self._draw is not None and result.ranked:
                files += self._draw(result, Path(folder))
            if result.comparison is not None:
                for record in comparison_records(self._facts, result, result.comparison):
                    self._records.put(record)
            end = end_record(self._facts, result, state, files)
            if self._keep is not None and state == "finished" and result.ranked:
                end["model"] = self._keep(result, Path(folder))
            self._records.put(end)
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
                "MLflow at %s missed %d records (%s); the study itself is whole in %s, and "
                "`lrsearch sync %s` writes them when MLflow answers",
                self.uri,
                len(lost),
                self._trouble or f"its writer ended with code {self._process.returncode}",
                result.storage,
                result.study,
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

    def _feed(self) -> None:
        """Hands records to the writer; a pipe that is full blocks this thread and no other."""
        # A writer that has died is reported by `finish`.
        with suppress(BrokenPipeError), cast(IO[str], self._process.stdin) as pipe:
            while (record := self._records.get()) is not None:
                self._pending.append(record)
                pipe.write(json.dumps(record, allow_nan=False) + "\n")
                pipe.flush()

    def _hear(self) -> None:
        """Takes note of what the writer says it has written."""
        for line in cast(IO[str], self._process.stdout):
            answer, record = json.loads(line), self._pending.popleft()
            self.run_id = answer["run_id"] or self.run_id
            self._answered += 1
            if answer["trouble"]:
                self._trouble = self._trouble or redact_text(answer["trouble"], self._uri)
                self._missed.append(record)
            if record["kind"] == "study":
                self._catch_up(set(answer.get("have", ())))
        self._opened.set()

    def _catch_up(self, have: set[str]) -> None:
        """Queues the earlier trials that the parent run lacks, in full where they were spooled."""
        spooled = self._spool.read()
        for trial, progress in self._known:
            key = trial_key(trial)
            if key not in have:
                self._records.put(spooled.get(key) or trial_record(self._facts, trial))
                if progress is not None:
                    self._records.put(progress)
        self._opened.set()
