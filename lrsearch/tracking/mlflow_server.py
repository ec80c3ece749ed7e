"""MLflow's own server for one store, and the address of a study's page on it.

MLflow opens in a view made for language-model applications, where training runs are hard to find,
and its table begins without the columns that matter. So a study keeps a view of its own with its
experiment: its runs alone, the best first, with the fields of its space beside the value.
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
from types import TracebackType

from mlflow.tracking import MlflowClient

from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact
from lrsearch.tracking.writer import experiment_name, parent_of, view_key

HOST = "127.0.0.1"
#: Seconds in which a server must answer; it needs 9 to 16 on two cores.
PATIENCE = 120.0


class MlflowServer:
    """MLflow's server on this machine, for as long as the context lasts.

    Args:
        uri: a database that it serves; of a server that runs already nothing is started.
        port: where it listens.

    Raises:
        RequestError: something listens there already.
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
                    f"port {port} is taken ({error.strerror}); name another with --port, or stop "
                    "what listens there"
                ) from error
        words = ["server", "--host", HOST, "--port", str(port), "--workers", "1"]
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter
            [sys.executable, "-P", "-m", "mlflow", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **os.environ,
                "MLFLOW_BACKEND_STORE_URI": uri,  # which may hold a password
            },
            start_new_session=True,  # Ctrl-C is ours to handle
        )

    def __enter__(self) -> MlflowServer:
        """Waits until it answers."""
        try:
            self._wait_for_answer()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops it, and all that it has started."""
        self._stop()

    def wait(self) -> None:
        """Until it ends, which it does of itself only when something is wrong.

        Of a server that is not ours nothing is waited for.

        Raises:
            SearchFailed: ours has ended.
        """
        if self._process is not None:
            self._process.wait()
            raise SearchFailed("MLflow's server has ended; start it again with `lrsearch ui`")

    def _wait_for_answer(self) -> None:
        end = time.monotonic() + PATIENCE
        while self._process is not None and time.monotonic() < end:
            if self._process.poll() is not None:
                raise SearchFailed(
                    f"MLflow's server ended with code {self._process.returncode}; try `mlflow ui`"
                )
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2) as answer:  # noqa: S310
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        if self._process is not None:
            raise SearchFailed(
                f"MLflow's server did not answer within {PATIENCE:.0f} seconds; try another --port"
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
    """The path of a study's page, or of the experiment where no study is named.

    Args:
        uri: where MLflow keeps its runs.
        identity: of the study.
        study: its name, for people.

    Raises:
        RequestError: there is no such experiment, or the study was never written there.
    """
    experiment = experiment_name()
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    if known is None:
        raise RequestError(
            f"MLflow at {redact(uri)} has no experiment {experiment!r} yet; `lrsearch tune` makes "
            "it, and `lrsearch sync STUDY` writes a study there"
        )
    page = f"/#/experiments/{known.experiment_id}/runs?workflowType=machine_learning"
    if identity is None:
        return page
    if not client.search_runs([known.experiment_id], parent_of(identity), max_results=1):
        raise RequestError(
            f"MLflow at {redact(uri)} has no study {study}; write it by `lrsearch sync {study}`"
        )
    return f"{page}&viewStateShareKey={view_key(identity)}"
