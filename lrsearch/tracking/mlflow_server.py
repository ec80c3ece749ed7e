"""MLflow's server for one store, and the address of a study's page on it.

MLflow opens in a view for language-model applications, where training runs are hard to find, and
its table lacks the columns that matter. Therefore every study stores its own view with its
experiment: only the runs of the study, best first, with the value and the fields of its space.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact
from lrsearch.tracking.connect import connect_once
from lrsearch.tracking.writer import experiment_name, parent_of, view_key

HOST = "127.0.0.1"
#: Seconds within which a server must answer. It takes 9 to 16 s on two cores.
PATIENCE = 120.0


class MlflowServer:
    """A process with MLflow's server on this machine, as a context manager.

    Args:
        uri: database to serve. If it is the URL of a server that already runs, nothing is started.
        port: port on which the server listens.

    Raises:
        RequestError: the port is in use.
        SearchFailed: the server did not start.
    """

    def __init__(self, uri: str, port: int) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.address = uri.rstrip("/")
        if uri.startswith(("http://", "https://")):
            return
        self.address = f"http://{HOST}:{port}"
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise RequestError(
                    f"port {port} is in use ({error.strerror}); choose another `port=`, or stop "
                    "the program that uses it"
                ) from error
        words = ["server", "--host", HOST, "--port", str(port), "--workers", "1"]
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter
            [sys.executable, "-P", "-m", "mlflow", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **os.environ,
                "MLFLOW_BACKEND_STORE_URI": uri,  # not an argument: those show its password
            },
            start_new_session=True,  # so that Ctrl-C reaches only this process
        )

    def __enter__(self) -> MlflowServer:
        """Wait until the server answers."""
        try:
            self._wait_for_answer()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the server and all processes that it started."""
        self._stop()

    def wait(self) -> None:
        """Wait until the server stops, which it does by itself only after an error.

        Return at once if the server was already running.

        Raises:
            SearchFailed: the server has stopped.
        """
        if self._process is not None:
            self._process.wait()
            raise SearchFailed("MLflow's server has stopped; start it again with `lrsearch ui`")

    def _wait_for_answer(self) -> None:
        end = time.monotonic() + PATIENCE
        while self._process is not None and time.monotonic() < end:
            if self._process.poll() is not None:
                raise SearchFailed(
                    f"MLflow's server stopped with exit code {self._process.returncode}; run "
                    "`mlflow ui` to see why"
                )
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2) as answer:  # noqa: S310
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        if self._process is not None:
            raise SearchFailed(
                f"MLflow's server did not answer within {PATIENCE:.0f} seconds; try again, or "
                "choose another `port=`"
            )

    def _stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def find_page(uri: str, identity: str | None, study: str | None) -> str:
    """Return the path of a study's page, or of the experiment's page if no study is given.

    Args:
        uri: MLflow's database or server.
        identity: id of the study, or None.
        study: name of the study, for messages.

    Raises:
        RequestError: MLflow does not have the experiment or the study.
    """
    experiment = experiment_name()
    client = connect_once(uri)
    known = client.get_experiment_by_name(experiment)
    if known is None:
        raise RequestError(
            f"MLflow at {redact(uri)} has no experiment {experiment!r} yet; upload a study with "
            "`lrsearch sync STUDY`"
        )
    page = f"/#/experiments/{known.experiment_id}/runs?workflowType=machine_learning"
    if identity is None:
        return page
    if not client.search_runs([known.experiment_id], parent_of(identity), max_results=1):
        raise RequestError(
            f"MLflow at {redact(uri)} has no study {study}; upload it with `lrsearch sync {study}`"
        )
    return f"{page}&viewStateShareKey={view_key(identity)}"
