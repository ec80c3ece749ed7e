"""Connections to MLflow: databases that do not answer, and processes killed while making one."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from mlflow.tracking import MlflowClient

from lrsearch import api
from lrsearch.cli import main
from lrsearch.errors import SearchFailed
from lrsearch.tracking import connect as connections
from lrsearch.tracking.connect import connect, connect_once
from lrsearch.tracking.mlflow_tracker import MlflowTracker
from tests.doubles import Bowl, free_port, search, wait_until

pytestmark = pytest.mark.timeout(150)  # MLflow needs seconds to make its tables

COLUMNS = """
    select tables.name, columns.name, columns.type, columns."notnull", columns.pk
    from sqlite_master as tables join pragma_table_info(tables.name) as columns order by 1, 2
"""
CREATE = "import sys; from lrsearch.tracking.connect import connect; connect(sys.argv[1])"


@pytest.fixture
def silent_port():
    """Return a port that accepts connections and answers none of them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("seconds", [0.0, 0.4])
def test_a_process_killed_while_it_makes_the_tables_leaves_no_database(tmp_path, seconds):
    uri, work = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlflow.db.tables"
    process = subprocess.Popen([sys.executable, "-c", CREATE, uri], stderr=subprocess.DEVNULL)
    wait_until(lambda: work.exists() and work.stat().st_size > 0, 60)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert connect(uri).search_experiments()[0].name == "Default"
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_a_database_made_beside_is_the_one_that_mlflow_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    connect("sqlite:///ours.db")
    MlflowClient(tracking_uri="sqlite:///theirs.db").search_experiments()

    def content(name):
        with contextlib.closing(sqlite3.connect(name)) as database:
            schema = database.execute(COLUMNS)
            roots = database.execute("select experiment_id, artifact_location from experiments")
            return schema.fetchall(), roots.fetchall()

    assert content("ours.db") == content("theirs.db")


def test_a_database_that_another_program_left_half_made_is_explained(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("create table registered_models (name text)")
    with pytest.raises(ValueError, match=r"part of MLflow's tables in .*mlflow.db; move it away"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_dead_database_does_not_hold_up_the_end_of_a_search(tmp_path, scheme, caplog):
    uri = f"{scheme}://ann:secret@127.0.0.1:{free_port()}/mlflow"
    begun = time.monotonic()
    result = search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=3)
    assert len(result.trials) == 3
    assert "could not be written to MLflow" in caplog.text
    assert "secret" not in caplog.text
    assert time.monotonic() - begun < 60  # MLflow repeats its attempts for 100 s, each time


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql", "http"])
def test_a_host_that_never_answers_is_an_error_within_seconds(silent_port, scheme, monkeypatch):
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    with pytest.raises(SearchFailed, match=r"does not answer: .*; check the address"):
        connect_once(f"{scheme}://ann:secret@127.0.0.1:{silent_port}/mlflow")


def test_a_missing_driver_is_explained():
    with pytest.raises(SearchFailed, match="needs a driver: No module named"):
        connect_once("mssql+pyodbc://ann:secret@127.0.0.1/mlflow")


def test_the_pages_of_a_server_that_is_gone_are_one_clear_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    api.tune("quadratic", trials=2, tracking_uri="none", compare=False)
    uri = f"http://127.0.0.1:{free_port()}"
    assert main(["ui", "quadratic-default", "--tracking-uri", uri]) == 1
    err = capsys.readouterr().err
    assert "does not answer" in err
    assert "Traceback" not in err
