"""Other servers: MLflow on PostgreSQL, and MySQL."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

import pytest
import sqlalchemy

from lrsearch import api
from lrsearch.study.location import Location
from lrsearch.study.store import Store
from tests.doubles import Bowl, free_port, search, wait_for_threads, wait_until
from tests.survival.swarm import check_every_trial_ended_once, essence, nap, swarm

pytestmark = pytest.mark.slow

RANDOM = ["--no-compare", "--tracking-uri", "none", "--sampler", "random"]
MARIADB = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")


@pytest.fixture
def mlflow(postgres, database, tmp_path):
    """Yield the URL of an MLflow server with runs in PostgreSQL and its own artifact storage."""
    port, runs = free_port(), postgres.fresh("mlflow")
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", runs, "--artifacts-destination", str(tmp_path / "kept")]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def answers():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
        except OSError:
            return b""

    try:
        wait_until(answers, 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_two_processes_share_a_postgresql_and_an_mlflow_server_that_uses_it(
    mlflow, database, postgres, tmp_path
):
    from mlflow.tracking import MlflowClient

    words = nap(30, "--sampler", "random", "--no-compare", "--storage", database)
    how = {"kills": 3, "alive": 2, "between": (1.5, 2.5), "seed": 3}
    assert swarm(tmp_path, [*words, "--tracking-uri", mlflow], **how)[1] == 0
    check_every_trial_ended_once(tmp_path, "nap-default", 30, database)
    client = MlflowClient(tracking_uri=mlflow)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    runs = client.search_runs([experiment])
    keys = sorted(run.data.tags.get("lrsearch.key", "parent") for run in runs)
    assert keys == ["parent", *(f"trial-{i:04d}" for i in range(30))]
    assert {run.info.status for run in runs} == {"FINISHED"}
    parent = next(run for run in runs if "lrsearch.key" not in run.data.tags)
    artifacts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert "space.yaml" in artifacts
    assert list((tmp_path / "kept").rglob("space.yaml"))  # stored by the server
    count = "SELECT count(*) FROM runs"
    assert postgres.psql(count, "mlflow") == "31"


class MariaDb:
    """A MariaDB server for tests, from the system's packages."""

    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="lrsearch-my-"))
        self.home.chmod(0o755)
        self.user = "mysql" if os.geteuid() == 0 else None
        self.data, self.port, self.process = self.home / "data", free_port(), None
        self.data.mkdir()
        if self.user is not None:
            shutil.chown(self.home, self.user)
            shutil.chown(self.data, self.user)
        words = ["--no-defaults", f"--datadir={self.data}"]
        subprocess.run(
            ["mariadb-install-db", *words, "--auth-root-authentication-method=normal"],
            user=self.user,
            cwd=self.home,
            check=True,
            capture_output=True,
            timeout=120,
        )
        self.start()

    def start(self):
        words = [f"--datadir={self.data}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        words += [f"--socket={self.home}/s", f"--pid-file={self.home}/pid"]
        self.process = subprocess.Popen(
            [MARIADB, "--no-defaults", *words],
            user=self.user,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.answers, 60)

    def answers(self):
        """Return a true value if the server answers a query."""
        try:
            return self.execute("SELECT 1")
        except sqlalchemy.exc.OperationalError:
            return None

    def stop(self):
        self.process.kill()
        self.process.wait(30)

    def execute(self, command):
        url = f"mysql+pymysql://root@127.0.0.1:{self.port}/"
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text(command))

    def fresh(self, name):
        self.execute(f"CREATE DATABASE {name}")
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{name}"

    def close(self):
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="module")
def mysql():
    if MARIADB is None:
        pytest.skip("there is no MariaDB on this machine")
    server = MariaDb()
    yield server
    server.close()


def test_a_study_in_mysql_equals_the_same_study_in_a_journal(mysql, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"trials": 12, "steps": 60, "sampler": "tpe", "tracking_uri": "none", "compare": True}
    kept = api.tune("quadratic", storage=mysql.fresh("twin"), **words)
    assert essence(kept) == essence(api.tune("quadratic", **words))


def test_mysql_stores_records_of_more_than_64_kilobytes(mysql):
    url = mysql.fresh("wide")
    search(Bowl(), None, storage=url, trials=2, sampler="random")
    with Store.read(Location.of("s", url)) as store:
        store.keep("lrsearch.test", "x" * 200_000)
        assert len(store.storage.get_study_user_attrs(store.key)["lrsearch.test"]) == 200_000


def test_kills_and_a_restart_of_mysql_neither_lose_nor_duplicate_trials(mysql, tmp_path):
    url = mysql.fresh("kills")

    def restart():
        mysql.stop()
        mysql.start()

    restarting = threading.Timer(6.0, restart)
    restarting.daemon = True
    restarting.start()
    how = {"kills": 6, "alive": 4, "between": (0.3, 0.9), "seed": 7}
    found, code = swarm(tmp_path, nap(100, *RANDOM, "--storage", url), **how)
    wait_for_threads(restarting)
    assert code == 0
    assert found > 3
    check_every_trial_ended_once(tmp_path, "nap-default", 100, url)
