"""A study in MLflow: its tracker, `sync`, and the server for its pages."""

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
    """Return the tracking URI of an existing study.

    Args:
        result: result of the study.
        asked: the tracking URI that the user gave, or None.

    Returns:
        The given URI, else the stored one; `none` for no tracking; None if the stored URI had a
        password, because passwords are not stored.

    Raises:
        RequestError: the stored URI is not one of the user's own. A study may come from a
            stranger, and the server that it names would get the user's credentials.
    """
    if asked is not None:
        return asked
    known = result.tracking_uri
    if known is None:
        return "none"
    if ":***@" in known:
        return None
    if result.source is None and not _is_own(known):
        raise RequestError(
            f"study {result.study} names MLflow at {known}, which is neither your own setting nor "
            "a file in this folder; give `tracking_uri=` to use it"
        )
    return known


def _is_own(uri: str) -> bool:
    """Return whether the user's settings name a URI, or it is an SQLite file below this folder."""
    if uri == redact(default_uri()):
        return True
    path = Path(uri.removeprefix("sqlite:///")).absolute()
    return uri.startswith("sqlite:///") and path.resolve().is_relative_to(Path.cwd().resolve())


def model_keeper(
    spec: StudySpec, answers: Objective, name: str
) -> Callable[[Result, Path], dict[str, str]]:
    """Return a function that trains and saves the model of the best schedule of a search.

    Args:
        spec: specification of the study.
        answers: the objective.
        name: name under which MLflow registers the model; empty for none.

    Returns:
        A function of the result and a folder, which returns the paths of the saved files and the
        name, or an empty dict if the model cannot be saved.

    Raises:
        RequestError: the objective is not a task, so it has no model.
    """
    if not isinstance(answers, KeepsModel):
        raise RequestError(
            f"objective {answers.setup.name} has no model to log, because it is not a task; leave "
            "out `log_model=`"
        )

    def keep(result: Result, folder: Path) -> dict[str, str]:
        plan = spec.budget.plan(result.recommended.schedule)
        kept = answers.save_model(plan, run_seed(spec.seed, 0), folder)
        return {**kept, "name": name} if kept else {}

    return keep


def make_tracker(
    uri: str | None, keep: Callable[[Result, Path], dict[str, str]] | None = None
) -> Tracker:
    """Return a tracker.

    Args:
        uri: MLflow tracking URI; None for MLflow's own setting, `none` for no tracking.
        keep: function that saves the best model, or None.
    """
    from lrsearch.tracking.tracker import NoTracker  # loads Optuna, which no RequestError needs

    if uri == "none":
        return NoTracker()

    from lrsearch.tracking.mlflow_tracker import MlflowTracker

    def draw(result: Result, folder: Path) -> list[Path]:
        from lrsearch.report.files import write_report, write_study

        page, recipe, plan = (folder / n for n in ("report.html", "schedule.json", "schedule.csv"))
        write_report(result, page)
        schedule = result.recommended.schedule
        recipe.write_text(to_json(schedule), encoding="utf-8")
        plan.write_text(to_csv(result.budget.plan(schedule)), encoding="utf-8")
        return [page, recipe, plan, *write_study(result, folder)]

    return MlflowTracker(uri, draw, keep)


def sync(
    study: str, *, storage: str | Path | None = None, tracking_uri: str | None = None
) -> tuple[str, str]:
    """Upload whatever MLflow is missing for a study; nothing is overwritten.

    Curves have at most 64 points, as in the study's storage, except for trials that were spooled
    to a file in full because MLflow did not answer during the search.

    Args:
        study: name of the study.
        storage: journal file or database URL; None for `lrsearch-studies/STUDY.journal`.
        tracking_uri: MLflow tracking URI; None for the one of the study.

    Returns:
        The tracking URI without a password, and the id of the parent run.

    Raises:
        RequestError: there is no such study, or its tracking URI is not known.
        SearchFailed: a part of the study could not be uploaded.
    """
    from lrsearch.tracking.tracker import study_facts

    with _read(study, storage) as store:
        result, uri = store.result(), _uri_of(store, tracking_uri)
        tracker = make_tracker(uri)
        tracker.start(study_facts(store, result.counted), result.trials)
        tracker.finish(result, "finished")
        if tracker.uri is None or tracker.run_id is None or tracker.missed:
            raise SearchFailed(
                f"a part of study {study} could not be uploaded to MLflow at {redact(uri)}; run "
                f"`lrsearch sync {study}{store.location.option}` again when MLflow answers"
            )
        store.set_tracking(tracker.uri, tracker.run_id)
    return tracker.uri, tracker.run_id


@dataclass(frozen=True)
class Page:
    """A page of MLflow.

    Attributes:
        address: URL of the study's page, or of the experiment's.
        server: the server of the page.
    """

    address: str
    server: MlflowServer

    def wait(self) -> None:
        """Wait until the server ends."""
        self.server.wait()


@contextlib.contextmanager
def serve(
    study: str | None = None,
    *,
    port: int = 5000,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Iterator[Page]:
    """Run MLflow's server for the tracking store of a study, while the context lasts.

    Args:
        study: name of a study; None for all studies of the store.
        port: port on 127.0.0.1.
        storage: storage of the study; None for `lrsearch-studies/STUDY.journal`.
        tracking_uri: MLflow tracking URI; None for the one of the study, or MLflow's own setting.

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
        raise RequestError(
            "without tracking there are no pages; give the `tracking_uri=` of a database or server"
        )
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.is_file():
        raise RequestError(
            f"there is no file {path}; create it with `lrsearch tune` or `lrsearch sync STUDY`"
        )

    from lrsearch.tracking.mlflow_server import (  # loads MLflow, which takes two seconds
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
    """Return the given tracking URI, or the one of the study.

    Raises:
        RequestError: the study has none, or it had a password, because passwords are not stored.
    """
    uri = tracked_uri(store.result(), asked)
    if uri == "none":
        raise RequestError(
            f"study {store.name} was searched without tracking; give `tracking_uri=`"
        )
    if uri is None and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise RequestError(
            f"study {store.name} is tracked at {store.tracking[0]}, whose password is not stored; "
            "give the whole URI with `tracking_uri=` or MLFLOW_TRACKING_URI"
        )
    return check_uri(uri or default_uri())
