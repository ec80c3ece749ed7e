"""A fresh MLflow database costs seconds of migrations; a copy of one costs none."""

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
    """The URI of a database of the test's own."""
    shutil.copy(empty_database, tmp_path / "m.db")
    return f"sqlite:///{tmp_path}/m.db"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """MLflow puts artifacts of a local database below the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
