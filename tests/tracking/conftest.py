"""Fixtures with MLflow databases: creating one takes seconds of migrations, copying takes none."""

import shutil

import pytest
from mlflow.tracking import MlflowClient


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database without an experiment of lrsearch."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path, empty_database):
    """The URI of a fresh database."""
    shutil.copy(empty_database, tmp_path / "m.db")
    return f"sqlite:///{tmp_path}/m.db"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """MLflow stores the artifacts of a local database in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
