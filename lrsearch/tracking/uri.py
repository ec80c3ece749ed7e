"""Tracking URIs, checked before MLflow is loaded, and whether they answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact, redact_text

DEFAULT_DATABASE = "sqlite:///mlflow.db"
#: What MLflow can keep runs in; a driver may follow, as in `postgresql+psycopg`.
SCHEMES = (
    *("sqlite", "postgresql", "mysql", "mssql"),
    *("http", "https", "databricks", "databricks-uc", "uc"),
)
#: One try of a few seconds, unless the user has set otherwise.
HTTP_SETTINGS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


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


def reach(uri: str) -> str:
    """Says what is at a tracking URI; a database file that is not there yet is not made.

    Raises:
        SearchFailed: it does not answer.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        if not os.access(path.parent, os.W_OK):
            raise SearchFailed(
                f"cannot make {path}: its folder cannot be written; name another with "
                "--tracking-uri"
            )
        return f"{uri}, which the first search makes"
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    own = {name: value for name, value in HTTP_SETTINGS.items() if name not in os.environ}
    os.environ.update(own)
    try:
        found = MlflowClient(tracking_uri=uri).search_experiments(max_results=1000)
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError, ValueError) as error:
        text = " ".join(redact_text(str(error), uri).split())[:200]
        raise SearchFailed(
            f"{redact(uri)} does not answer: {text}; see to it, or search with --tracking-uri none"
        ) from error
    finally:
        for name in own:
            del os.environ[name]
    return f"{redact(uri)}, {len(found)} experiments"
