"""A study in MLflow after its search: written again where something is missing, and served."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact
from lrsearch.study.location import Location
from lrsearch.trackers import make_tracker, tracked_uri
from lrsearch.tracking.uri import check_uri, default_uri

if TYPE_CHECKING:
    from lrsearch.study.store import Store
    from lrsearch.tracking.mlflow_server import MlflowServer

__all__ = ["Page", "serve", "sync"]


def sync(
    study: str, *, storage: str | Path | None = None, tracking_uri: str | None = None
) -> tuple[str, str]:
    """Writes to MLflow what it lacks of a study; what is there stays.

    Curves are those of the study's storage, at most 64 points each, except of trials whose records
    were kept in full because MLflow did not answer during the search.

    Args:
        study: its name.
        storage: its journal file, or a database's URL; None is `lrsearch-studies/STUDY.journal`.
        tracking_uri: of MLflow; None is where the study was tracked.

    Returns:
        where it is, without a password, and the id of its parent run.

    Raises:
        RequestError: there is no such study, or no MLflow to write to is known.
        SearchFailed: MLflow could not be told everything.
    """
    with _read(study, storage) as store:
        result, uri = store.result(), _uri_of(store, tracking_uri)
        tracker = make_tracker(uri)
        tracker.start(store.facts(len(result.trials)), result.trials)
        tracker.finish(result, "finished")
        if tracker.uri is None or tracker.run_id is None or tracker.missed:
            raise SearchFailed(
                f"MLflow at {redact(uri)} was not told everything of study {study}; try again "
                "when it answers"
            )
        store.set_tracking(tracker.uri, tracker.run_id)
    return tracker.uri, tracker.run_id


@dataclass(frozen=True)
class Page:
    """Where to look.

    Attributes:
        address: of the study's page, or of the experiment's.
        server: what serves it.
    """

    address: str
    server: MlflowServer

    def wait(self) -> None:
        """As the server's own `wait`."""
        self.server.wait()


@contextlib.contextmanager
def serve(
    study: str | None = None,
    *,
    port: int = 5000,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Iterator[Page]:
    """MLflow's own server for the store of a study, while the context lasts.

    Args:
        study: its name; None is all studies of the store.
        port: where it listens on 127.0.0.1.
        storage: the study's; None is `lrsearch-studies/STUDY.journal`.
        tracking_uri: of MLflow; None is where the study was tracked, or MLflow's own default.

    Raises:
        RequestError: there is no such study or store, or the port is taken.
        SearchFailed: the server did not start.
    """
    if study is None:
        uri, identity = check_uri(tracking_uri or default_uri()), None
    else:
        with _read(study, storage) as store:
            uri, identity = _uri_of(store, tracking_uri), store.identity
    if uri == "none":
        raise RequestError("tracking URI none has no pages; give a database or a server")
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        raise RequestError(
            f"there is no {path}; `lrsearch tune` or `lrsearch sync STUDY` makes it"
        )

    from lrsearch.tracking.mlflow_server import (  # MLflow, which takes two seconds
        MlflowServer,
        find_page,
    )

    page = find_page(uri, identity, study)
    with MlflowServer(uri, port) as server:
        yield Page(server.address + page, server)


def _read(study: str, storage: str | Path | None) -> Store:
    from lrsearch.study.store import Store

    return Store.read(Location.of(study, storage))


def _uri_of(store: Store, asked: str | None) -> str:
    """Where a study is tracked; its records know no password."""
    uri = tracked_uri(store.result(), asked)
    if uri == "none":
        raise RequestError(
            f"study {store.name} was searched without tracking; name an MLflow with --tracking-uri"
        )
    if uri is None and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise RequestError(
            f"study {store.name} is tracked at {store.tracking[0]}, whose password is not kept; "
            "give it with --tracking-uri or MLFLOW_TRACKING_URI"
        )
    return check_uri(uri or default_uri())
