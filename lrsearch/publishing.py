"""What a study has in MLflow: its tracker, what is written again, and the pages served."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch.contract import KeepsModel, Objective
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.export.plain_text import to_csv, to_json
from lrsearch.redaction import redact
from lrsearch.result import Result
from lrsearch.seeding import run_seed
from lrsearch.study.location import Location
from lrsearch.study.spec import StudySpec
from lrsearch.tracking.uri import check_uri, default_uri

if TYPE_CHECKING:
    from lrsearch.study.store import Store
    from lrsearch.tracking.mlflow_server import MlflowServer
    from lrsearch.tracking.tracker import Tracker


def tracked_uri(result: Result, asked: str | None) -> str | None:
    """Where a study that exists is tracked, as far as its records may say."""
    if asked is not None:
        return asked
    if result.tracking_uri is None:
        return "none"
    return None if ":***@" in result.tracking_uri else result.tracking_uri


def model_keeper(
    spec: StudySpec, answers: Objective, name: str
) -> Callable[[Result, Path], dict[str, str]]:
    """What writes the winning model of a search.

    Raises:
        RequestError: its models cannot be kept.
    """
    if not isinstance(answers, KeepsModel):
        raise RequestError(
            f"objective {answers.setup.name} has no model to log: it is no task; leave "
            "log_model out"
        )

    def keep(result: Result, folder: Path) -> dict[str, str]:
        plan = spec.budget.plan(result.chosen)
        kept = answers.save_model(plan, run_seed(spec.seed, 0), folder)
        return {**kept, "name": name} if kept else {}

    return keep


def make_tracker(
    uri: str | None, keep: Callable[[Result, Path], dict[str, str]] | None = None
) -> Tracker:
    """A tracker for an MLflow; None is MLflow's own default, `none` is no tracking."""
    from lrsearch.tracking.tracker import NoTracker  # Optuna, which no error needs

    if uri == "none":
        return NoTracker()

    from lrsearch.tracking.mlflow_tracker import MlflowTracker

    def draw(result: Result, folder: Path) -> list[Path]:
        from lrsearch.report.files import write_report, write_study

        page, recipe, plan = (folder / n for n in ("report.html", "schedule.json", "schedule.csv"))
        write_report(result, page)
        recipe.write_text(to_json(result.chosen), encoding="utf-8")
        plan.write_text(to_csv(result.budget.plan(result.chosen)), encoding="utf-8")
        return [page, recipe, plan, *write_study(result, folder)]

    return MlflowTracker(uri, draw, keep)


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
    from lrsearch.tracking.tracker import study_facts

    with _read(study, storage) as store:
        result, uri = store.result(), _uri_of(store, tracking_uri)
        tracker = make_tracker(uri)
        tracker.start(study_facts(store, len(result.trials)), result.trials)
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
            uri, identity = _uri_of(store, tracking_uri), store.spec.id
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
