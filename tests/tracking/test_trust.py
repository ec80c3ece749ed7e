"""A study folder of a stranger cannot send files, credentials or foreign records to MLflow."""

import json
import os
import stat
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from sqlalchemy import make_url

import lrsearch
from lrsearch import publishing
from lrsearch.cli import main
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact, redact_text
from lrsearch.study.location import Location
from lrsearch.study.store import Store
from lrsearch.tracking.mlflow_tracker import MlflowTracker
from lrsearch.tracking.spool import Spool
from lrsearch.tracking.valid_records import metric_name
from tests.doubles import Bowl, search


def tags(identity, key="trial-0001", **more):
    known = {"lrsearch.id": identity, "lrsearch.kind": "trial", "lrsearch.key": key}
    return {**known, "lrsearch.state": "finished", **more}


def spooled(identity, **changes):
    metrics = [["loss", 0, 7.25], ["value", 0, 7.25]]
    record = {"kind": "child", "name": "x", "began": 5, "ended": 9, "status": "FINISHED"}
    return {**record, "params": {}, "tags": tags(identity), "metrics": metrics, **changes}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return the id of a study of three trials without tracking, in the current folder."""
    monkeypatch.chdir(tmp_path)
    lrsearch.tune(
        "quadratic",
        study="s",
        trials=3,
        steps=50,
        sampler="random",
        tracking_uri="none",
        compare=False,
    )
    with Store.read(Location.of("s")) as store:
        return store.spec.id


HOSTILE = {
    "end": {"kind": "end", "artifacts": ["secret.txt"], "leaderboard": {}},
    "model": {"kind": "end", "model": {"model": "evil.pt2", "example": "x.npy"}},
    "tags": {"tags": "TAGS"},
    "other study": {"tags": tags("another")},
    "not a trial": {"tags": "KIND"},
    "nan": {"metrics": [["loss", 0, float("nan")]]},
    "text": {"metrics": [["loss", 0, "1"]]},
    "many fields": {"metrics": [["loss", 0, 1.0, "run"]]},
    "no list": {"metrics": {"loss": 1.0}},
    "huge": {"metrics": [["loss", 0, 10**400]]},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_spool_of_a_stranger_uploads_no_file_and_no_foreign_record(study, tmp_path, case):
    (tmp_path / "secret.txt").write_text("secret")
    record = spooled(study, **HOSTILE[case])
    if record["tags"] == "TAGS":
        record["tags"] = tags(study, **{"mlflow.source.git.commit": "evil", "mlflow.user": "evil"})
    elif record["tags"] == "KIND":
        record["tags"] = tags(study) | {"lrsearch.kind": "study"}
    path = tmp_path / "lrsearch-studies" / "s.spool.jsonl"
    deep = "[" * 50_000 + "]" * 50_000
    path.write_text(f"{json.dumps(record)}\n{deep}\nnull\n3\n[]\n")
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    uri, run_id = publishing.sync("s", tracking_uri=f"sqlite:///{tmp_path}/m.db")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    assert client.get_run(run_id).info.status == "FINISHED"
    assert list(tmp_path.rglob("secret.txt")) == [tmp_path / "secret.txt"]
    known = {run.data.tags.get("lrsearch.key"): run for run in runs}
    child = known["trial-0001"]
    assert "evil" not in child.data.tags.values()
    taken = case in ("tags", "end", "model")  # only times and numbers of a line are used
    assert (child.data.metrics["loss"] == 7.25) is taken
    assert (child.info.start_time == 5) is taken


def test_a_spool_is_private_and_keeps_other_studies_lines_out(tmp_path):
    spool = Spool(tmp_path / "s.spool.jsonl")
    spool.write([spooled("mine"), spooled("other", tags=tags("other", "trial-0002"))])
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert list(spool.read("mine")) == ["trial-0001"]


@pytest.mark.parametrize("command", ["sync s", "ui s", "compare s"])
@pytest.mark.parametrize(
    "uri", ["http://evil.example:5000", "https://evil.example", "sqlite:////home/me/other.db"]
)
def test_a_server_that_only_a_study_names_is_not_contacted(study, capsys, command, uri):
    with Store.read(Location.of("s")) as store:
        store.set_tracking(uri, "run")
    assert main(command.split()) == 2
    expected = f"study s names MLflow at {uri}, which is neither your own setting nor a file in"
    err = capsys.readouterr().err
    assert expected in err
    assert "give --tracking-uri to use it" in err


def test_a_server_that_the_users_setting_names_is_used(study, monkeypatch):
    with Store.read(Location.of("s")) as store:
        store.set_tracking("http://127.0.0.1:9", "run")
    result = lrsearch.load("s")
    with pytest.raises(RequestError, match="neither your own setting"):
        publishing.tracked_uri(result, None)
    assert publishing.tracked_uri(result, "sqlite:///x.db") == "sqlite:///x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert publishing.tracked_uri(result, None) == "http://127.0.0.1:9"


def test_a_link_below_this_folder_is_not_a_file_of_this_folder(study, tmp_path, monkeypatch):
    (tmp_path / "out").symlink_to("/")
    with Store.read(Location.of("s")) as store:
        store.set_tracking("sqlite:///out/tmp/other.db", "run")
    with pytest.raises(RequestError, match="neither your own setting"):
        publishing.tracked_uri(lrsearch.load("s"), None)


def test_a_journal_is_private(tmp_path):
    search(Bowl(), tmp_path, trials=1)
    assert stat.S_IMODE((tmp_path / "x.journal").stat().st_mode) == 0o600


SCHEMES = ["postgresql", "mysql+pymysql", "mariadb", "mssql", "postgresql+psycopg"]
SECRET = st.text("Zz9:/?#[]!$&'()*+,;= %é\"", min_size=1, max_size=12).map(lambda t: f"Q{t}Q")
NAME = st.text("abc.-_%20", max_size=6)


@settings(deadline=None, max_examples=2000, derandomize=True)
@given(
    scheme=st.sampled_from(SCHEMES),
    user=NAME,
    password=SECRET,
    host=st.sampled_from(["host", "10.0.0.1", "[::1]", "localhost:5432", ""]),
    rest=st.sampled_from(["", "/", "/db", "/db?sslmode=require", "/db?x=1&y=a b"]),
    before=st.sampled_from(["", "--storage=", "--tracking-uri="]),
)
def test_no_password_that_sqlalchemy_reads_is_shown(scheme, user, password, host, rest, before):
    url = f"{scheme}://{user}:{password}@{host}{rest}"
    assert "Q" in (make_url(url).password or "")
    shown = redact(before + url)
    assert "Q" not in shown
    assert shown.startswith(f"{before}{scheme}://{user}:***@")
    assert shown.endswith(rest)
    assert "Q" not in redact_text(f"cannot connect with {password} to {url}", url)
    assert redact(shown) == shown


@settings(deadline=None, max_examples=500, derandomize=True)
@given(value=SECRET, name=st.sampled_from(["password", "passwd", "sslpassword", "token", "pwd"]))
def test_no_password_of_a_query_is_shown(value, name):
    url = f"postgresql://me@host/db?a=1&{name}={value.replace('&', '')}&b=2"
    assert "Q" not in redact(url)
    assert redact(url).startswith("postgresql://me@host/db?a=1&")


def test_one_record_that_mlflow_refuses_holds_up_no_other(study, tmp_path, caplog):
    record = spooled(study, began=10**30)  # beyond the integers of a database
    path = tmp_path / "lrsearch-studies" / "s.spool.jsonl"
    path.write_text(json.dumps(record) + "\n")
    uri = f"sqlite:///{tmp_path}/m.db"
    with pytest.raises(SearchFailed, match="a part of study s could not be uploaded"):
        publishing.sync("s", tracking_uri=uri)
    assert "1 records could not be written to MLflow" in caplog.text
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    keys = {run.data.tags.get("lrsearch.key") for run in client.search_runs([experiment])}
    assert keys >= {"trial-0000", "trial-0002"}
    assert "trial-0001" not in keys
    path.unlink()
    publishing.sync("s", tracking_uri=uri)
    keys = {run.data.tags.get("lrsearch.key") for run in client.search_runs([experiment])}
    assert "trial-0001" in keys


NAMES = {
    "acc@1 (%)": "acc_1 ___",
    "a+b=c": "a_b_c",
    "val/acc": "val/acc",
    "a//b": "a__b",
    "../x": "_._x",
    "/x": "_x",
    "x/": "x_",
    ".": "_",
    "..": "_.",
    "é ü": "é ü",
    "a:b": "a_b",
}


def test_metrics_with_other_names_are_renamed_and_said_once(tmp_path, caplog):
    class Noting(Bowl):
        def outcome(self, run):
            for i, name in enumerate([*NAMES, "a_b"]):
                run.note(name, float(i))
            if run.trial == 1:
                return run.end("failed", reason="x", details="half \udcff of a \x00 text")
            return super().outcome(run)

    uri = f"sqlite:///{tmp_path}/m.db"
    search(Noting(), tmp_path, trials=3, tracker=MlflowTracker(uri))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    runs = {r.data.tags.get("lrsearch.trial"): r for r in client.search_runs([experiment])}
    assert set(runs) == {None, "0", "1", "2", "3"}
    metrics = runs["0"].data.metrics
    for i, (name, shown) in enumerate(NAMES.items()):
        shown = "a_b_" if name == "a:b" else shown  # a_b is a name of its own
        assert metrics[shown] == float(i)
    assert metrics["a_b"] == float(len(NAMES))
    told = [r.getMessage() for r in caplog.records if "MLflow allows no metric" in r.message]
    assert len(told) == len(set(told)) == 9
    assert "MLflow allows no metric 'acc@1 (%)' and shows it as 'acc_1 ___'" in told
    assert "half ? of a ? text" in runs["1"].data.tags["mlflow.note.content"]


@settings(deadline=None, max_examples=500, derandomize=True)
@given(st.text(min_size=1, max_size=20))
def test_every_name_becomes_one_that_mlflow_accepts(name):
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(metric_name(name))
    assert metric_name(metric_name(name)) == metric_name(name)


def test_locks_are_in_a_folder_of_this_user(tmp_path, monkeypatch):
    from lrsearch.tracking import writer

    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with writer.one_opener("study"):
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(list(folder.iterdir())) == 1
    folder.chmod(0o777)  # as if another user had made it
    with writer.one_opener("other"):
        assert len(list(folder.iterdir())) == 1


def test_mlflow_is_in_the_folder_of_the_search_even_if_a_run_has_changed_it(tmp_path, monkeypatch):
    """The tracker of a process that leads later starts after its objective has run."""
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    monkeypatch.chdir(first)
    tracker = MlflowTracker("sqlite:///m.db")
    start = tracker.start
    monkeypatch.setattr(tracker, "start", lambda *given: (os.chdir(other), start(*given)))
    search(Bowl(), tmp_path, trials=2, tracker=tracker)
    assert (first / "m.db").is_file()
    assert not list(other.iterdir())
