"""Connections to MLflow that fail within seconds and leave no database half made."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import queue
import sqlite3
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy.exc
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import NullPool, create_engine, make_url

from lrsearch.errors import SearchFailed
from lrsearch.redaction import redact, redact_text

#: Errors of MLflow: it does not answer, or it refuses a record.
FAILURES = (
    *(MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError),
    *(LookupError, OverflowError, TypeError, ValueError),
)
#: Seconds within which a database or server must accept a connection. MLflow itself repeats the
#: attempts for 100 s, and a driver may wait for a host that is not there for minutes.
PATIENCE = 10.0
#: Settings of MLflow's client for one attempt at a request.
ONE_ATTEMPT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
#: What SQLite says if a killed process has left a part of MLflow's tables.
HALF_MADE = ("already exists", "duplicate column")


def connect(uri: str) -> MlflowClient:
    """Return a client for a database or server that answers; create a missing SQLite file.

    Args:
        uri: MLflow's database or server.

    Raises:
        OSError: it does not answer within `PATIENCE` seconds.
        ValueError: a killed process has left a part of MLflow's tables in the file.
        sqlalchemy.exc.SQLAlchemyError, MlflowException: it refuses the connection.
    """
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
        return MlflowClient(tracking_uri=uri)
    if not uri.startswith(DATABASES):
        return MlflowClient(tracking_uri=uri)  # a service that MLflow finds by itself
    path = sqlite_file(uri)
    if path is None:
        _check_database(uri)
        return MlflowClient(tracking_uri=uri)
    with _one_creator(path):
        if not path.is_file() or not path.stat().st_size:
            _create(path)
        try:
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except sqlalchemy.exc.OperationalError as error:
            if not any(words in str(error) for words in HALF_MADE):
                raise
            raise ValueError(
                f"a killed process has left a part of MLflow's tables in {path}; move it away"
            ) from error
        return client


def connect_once(uri: str) -> MlflowClient:
    """Return a client for a database or server that answers an attempt of a few seconds.

    Args:
        uri: MLflow's database or server.

    Raises:
        SearchFailed: it does not answer, or refuses.
    """
    own = {name: value for name, value in ONE_ATTEMPT.items() if name not in os.environ}
    os.environ.update(own)
    try:
        client = connect(uri)
        client.search_experiments(max_results=1)
        return client
    except FAILURES as error:
        text = " ".join(redact_text(str(error), uri).split())[:200]
        raise SearchFailed(
            f"{redact(uri)} does not answer: {text}; check the address and the server"
        ) from error
    finally:
        for name in own:
            del os.environ[name]


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite URI; None for other databases and for one in memory."""
    url = make_url(uri)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return None if url.database.startswith("file:") else Path(url.database)


def _create(path: Path) -> None:
    """Create MLflow's tables in another file and rename it, because this takes seconds.

    SQLite stores each table at once, and MLflow cannot use a part of its tables.
    """
    work, made = (path.with_name(f"{path.name}.{ending}") for ending in ("tables", "new"))
    for file in (work, made, *(Path(f"{work}{end}") for end in ("-journal", "-wal", "-shm"))):
        file.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{work}").search_experiments(max_results=1)
    with contextlib.closing(sqlite3.connect(work)) as database:
        database.execute("VACUUM INTO ?", (str(made),))
    with made.open("rb") as finished:
        os.fsync(finished.fileno())
    made.replace(path)
    work.unlink()


@contextlib.contextmanager
def _one_creator(path: Path) -> Iterator[None]:
    """Lock an SQLite database: processes that create one at the same time all crash."""
    with Path(f"{path}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_database(uri: str) -> None:
    """Connect once.

    Raises:
        OSError: the database does not answer in time.
        sqlalchemy.exc.SQLAlchemyError: it refuses the connection.
    """
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            engine = create_engine(uri, poolclass=NullPool)
            engine.connect().close()
        except (*FAILURES, ImportError) as error:
            answers.put(error)
        else:
            answers.put(None)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        trouble = answers.get(timeout=PATIENCE)
    except queue.Empty:
        raise TimeoutError(f"no answer within {PATIENCE:.0f} seconds") from None
    if isinstance(trouble, ImportError):
        raise ValueError(f"the database needs a driver: {trouble}") from trouble
    if trouble is not None:
        raise trouble


def _check_server(uri: str) -> None:
    """Send one request; any answer will do.

    Raises:
        OSError: the server does not answer in time.
    """
    parts = urlsplit(uri)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310  # HTTP, checked above
    try:
        urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310
    except (urllib.error.HTTPError, http.client.HTTPException):
        return  # an answer; MLflow says what is wrong with it
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # an option of MLflow may accept it
            raise
