"""Tracking URIs, checked before MLflow is loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lrsearch.errors import RequestError
from lrsearch.redaction import redact

DEFAULT_DATABASE = "sqlite:///mlflow.db"
#: What MLflow can keep runs in; a driver may follow, as in `postgresql+psycopg`.
SCHEMES = (
    *("sqlite", "postgresql", "mysql", "mssql"),
    *("http", "https", "databricks", "databricks-uc", "uc"),
)


def check_uri(uri: str) -> str:
    """Returns the URI of a database or server, or `none`.

    Raises:
        RequestError: it is neither, or an SQLite file's folder does not exist. MLflow refuses to
            keep runs in plain files since 3.13.
    """
    if uri == "none":
        return uri
    scheme = uri.partition("://")[0] if isinstance(uri, str) and "://" in uri else ""
    if scheme.partition("+")[0] not in SCHEMES:
        shown = redact(uri) if isinstance(uri, str) else uri
        raise RequestError(
            f"tracking URI {shown!r} is no database or server; give sqlite:///FILE.db, "
            "http://HOST:PORT or none"
        )
    path = Path(uri.removeprefix("sqlite:///"))
    if scheme == "sqlite" and not path.parent.is_dir():
        raise RequestError(
            f"tracking URI {uri!r}: there is no folder {path.parent}; make it, or choose another"
        )
    return uri


def default_uri() -> str:
    """MLflow's own default, without importing it where nobody has."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_DATABASE
