"""Whether an MLflow can be reached."""

from __future__ import annotations

import os
from pathlib import Path

from lrsearch.errors import SearchFailed
from lrsearch.redaction import redact, redact_text

#: One try of a few seconds, unless the user has set otherwise.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


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

    own = {name: value for name, value in PATIENCE.items() if name not in os.environ}
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
