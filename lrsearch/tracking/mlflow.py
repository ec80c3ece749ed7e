"""MLflow as a tracker: all writing happens in one thread of its own.

A slow server never holds up training, and a dead one never stops it: what cannot be written is
counted and reported once at the end. The study's storage stays the truth.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

import mlflow
import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from lrsearch.contract import StudyFacts
from lrsearch.result import Result, Trial
from lrsearch.tracking.page import Page
from lrsearch.tracking.uri import check_uri, redact

__all__ = ["MlflowTracker"]

DEFAULT_DATABASE = "sqlite:///mlflow.db"
#: A search that has ended waits for what is still unwritten as long as something is written every
#: so many seconds.
PATIENCE = 60.0
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
        self._uri = check_uri(uri)
        self.uri: str | None = redact(uri)
        self.run_id: str | None = None
        self._jobs: queue.SimpleQueue[Callable[[Page], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._steps = 0  # jobs done and the page opened: a sign of life
        self._lost = 0
        self._trouble = "it is too slow"

    def start(self, facts: StudyFacts) -> None:
        """Opens or continues the parent run, in the writer's thread."""
        self._thread = threading.Thread(
            target=self._write, args=(facts,), name="lrsearch-mlflow", daemon=True
        )
        self._thread.start()

    def trial_ended(self, trial: Trial) -> None:
        """Queues a child run."""
        ended = time.time()
        self._jobs.put(lambda page: page.add(trial, ended))

    def finish(self, result: Result, state: str) -> None:
        """Closes the parent run and waits until all is written, or nothing more seems to be."""
        self._jobs.put(lambda page: page.close(result, state))
        self._jobs.put(None)
        before = -1
        while self._thread is not None and self._thread.is_alive() and before < self._steps:
            before = self._steps
            self._thread.join(PATIENCE)
        lost = self._lost + self._jobs.qsize()
        if lost:
            log.warning(
                "MLflow at %s missed %d records of this study (%s); the study is whole in %s",
                self.uri,
                lost,
                self._trouble,
                result.storage,
            )

    def _write(self, facts: StudyFacts) -> None:
        page: Page | None = None
        try:
            page = Page(self._uri, facts)
            self.run_id = page.run_id
        except FAILURES as error:
            self._trouble = _one_line(error)
        self._steps += 1
        while (job := self._jobs.get()) is not None:
            try:
                if page is None:
                    self._lost += 1  # no second try: a dead server costs minutes each time
                else:
                    job(page)
            except FAILURES as error:
                self._lost += 1
                self._trouble = _one_line(error)
            self._steps += 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
