"""Checks of tracking URIs: their form, without importing MLflow, and a connection."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact

DEFAULT_DATABASE = "sqlite:///mlflow.db"
#: Schemes that MLflow supports; a driver may follow, as in `postgresql+psycopg`.
SCHEMES = (
    *("sqlite", "postgresql", "mysql", "mssql"),
    *("http", "https", "databricks", "databricks-uc", "uc"),
)


def check_uri(uri: str) -> str:
    """Return a tracking URI unchanged if it is valid.

    Args:
        uri: URI of a database or server, or `none`.

    Raises:
        RequestError: the URI is neither, or the folder of an SQLite file does not exist. MLflow
            3.13 and later do not store runs in plain files.
    """
    if uri == "none":
        return uri
    scheme = uri.partition("://")[0] if isinstance(uri, str) and "://" in uri else ""
    if scheme.partition("+")[0] not in SCHEMES:
        shown = redact(uri) if isinstance(uri, str) else uri
        raise RequestError(
            f"tracking URI {shown!r} is not a database or server; use sqlite:///FILE.db, "
            "http://HOST:PORT or none"
        )
    path = Path(uri.removeprefix("sqlite:///"))
    if scheme == "sqlite" and not path.parent.is_dir():
        raise RequestError(
            f"tracking URI {uri!r}: there is no folder {path.parent}; create it, or choose another"
        )
    return uri


def default_uri() -> str:
    """Return MLflow's default URI, without importing MLflow."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_DATABASE


def reach(uri: str) -> str:
    """Connect to a tracking URI, and return a description of what is there.

    A missing database file is not created.

    Raises:
        SearchFailed: the database or server does not answer, or its file cannot be created.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        if not os.access(path.parent, os.W_OK):
            raise SearchFailed(
                f"cannot create {path}: its folder is not writable; choose another tracking URI"
            )
        return f"{uri}, which the first search creates"
    from lrsearch.tracking.connect import connect_once  # loads MLflow, which takes a second

    found = connect_once(uri).search_experiments(max_results=1000)
    return f"{redact(uri)}, {len(found)} experiments"
