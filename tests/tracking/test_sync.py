"""Uploads to MLflow: every trial arrives, even if a process or a server died."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from lrsearch import api, publishing
from lrsearch.cli import main
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.objectives.builtin import make
from lrsearch.redaction import redact_text
from lrsearch.study.location import Location
from lrsearch.study.store import Store
from lrsearch.trace import Trace
from lrsearch.tracking.metric_points import mean_trace
from lrsearch.tracking.mlflow_server import MlflowServer
from lrsearch.tracking.mlflow_tracker import MlflowTracker
from lrsearch.tracking.spool import Spool
from lrsearch.training.dataset import describe_data
from tests.doubles import Bowl, free_port, search, wait_until

WORDS = {"trials": 4, "steps": 50, "sampler": "random"}


def runs_at(uri, experiment="lrsearch"):
    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs(
        [client.get_experiment_by_name(experiment).experiment_id], max_results=1000
    )
    return {run.data.tags.get("lrsearch.key", "parent"): run for run in found}


def trials(runs):
    return sorted(key for key in runs if key.startswith("trial"))


@pytest.mark.slow
def test_a_study_without_tracking_can_be_uploaded_later_and_repeatedly(uri, capsys):
    result = api.tune("quadratic", tracking_uri="none", compare=True, **WORDS)
    assert main(["sync", "quadratic-default", "--tracking-uri", uri]) == 0
    once = runs_at(uri)
    assert trials(once) == [f"trial-{i:04d}" for i in range(4)]
    parent = once["parent"]
    assert f"{uri}, run {parent.info.run_id}" in capsys.readouterr().out
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["value"] == result.best.value
    assert parent.data.params["sampler"] == "random"
    for trial in result.trials:
        child = once[f"trial-{trial.index:04d}"]
        assert child.data.metrics.get("value") == trial.value
        assert child.data.params["peak"] == str(trial.schedule.peak)
    assert api.load("quadratic-default").run_id == parent.info.run_id
    assert main(["sync", "quadratic-default"]) == 0  # the study now stores the URI
    twice = runs_at(uri)
    assert once.keys() == twice.keys()
    for key in trials(once):
        assert once[key].info.run_id == twice[key].info.run_id
    assert any(key.startswith("comparison") for key in once)


@pytest.mark.slow
def test_records_for_a_dead_server_are_spooled_in_full_and_uploaded_later(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    api.tune(
        "quadratic", tracking_uri="http://127.0.0.1:9", **{**WORDS, "steps": 200}, compare=False
    )
    spool = Spool(Path("lrsearch-studies/quadratic-default.spool.jsonl"))
    with Store.read(Location.of("quadratic-default")) as store:
        kept = spool.read(store.spec.id)
    assert sorted(kept) == [f"trial-{i:04d}" for i in range(4)]
    uri = f"sqlite:///{tmp_path}/later.db"
    publishing.sync("quadratic-default", tracking_uri=uri)
    runs = runs_at(uri)
    history = MlflowClient(tracking_uri=uri).get_metric_history(
        runs["trial-0000"].info.run_id, "loss"
    )
    assert len(history) > 64  # more than the study's storage keeps
    assert not spool.path.exists()


def test_an_incomplete_line_of_a_spool_is_skipped(tmp_path):
    spool = Spool(tmp_path / "s.spool.jsonl")
    words = {"id": "i", "kind": "trial", "key": "a", "state": "finished"}
    tags = {f"lrsearch.{name}": word for name, word in words.items()}
    child = {"kind": "child", "tags": tags, "began": 1, "ended": 2, "metrics": []}
    spool.write([child, {"kind": "end"}])
    spool.path.write_text(spool.path.read_text() + '{"kind": "chi')
    assert list(spool.read("i")) == ["a"]
    spool.write([])
    assert not spool.path.exists()


@pytest.mark.slow
def test_the_next_search_writes_what_a_killed_writer_did_not_write(tmp_path, uri):

    class Killing(Bowl):
        def outcome(self, run):
            if run.trial == 3:
                wait_until(lambda: tracker._answered >= 3, 60)
                os.kill(tracker._process.pid, signal.SIGKILL)
                tracker._process.wait(30)
            return super().outcome(run)

    tracker = MlflowTracker(uri)
    search(Killing(), tmp_path, tracker=tracker, trials=6)
    assert tracker.missed > 0
    assert tracker._process.stdin.closed
    before = runs_at(uri)
    assert before["parent"].info.status == "RUNNING"
    assert len(trials(before)) < 6
    result = search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=7)
    after = runs_at(uri)
    assert trials(after) == [f"trial-{i:04d}" for i in range(7)]
    assert {run.info.status for run in after.values()} <= {"FINISHED", "KILLED", "FAILED"}
    assert after["parent"].info.run_id == before["parent"].info.run_id == result.run_id


@pytest.mark.slow
def test_runs_that_a_killed_writer_left_incomplete_are_deleted_and_written_again(tmp_path, uri):
    first = search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=3)
    client = MlflowClient(tracking_uri=uri)
    half = runs_at(uri)["trial-0001"].info.run_id
    client.update_run(half, status="RUNNING")
    search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=4)
    runs = runs_at(uri)
    assert trials(runs) == [f"trial-{i:04d}" for i in range(4)]
    assert runs["trial-0001"].info.run_id != half
    assert runs["trial-0001"].data.metrics.get("value") == first.trials[1].value
    gone = client.get_run(half)
    assert gone.info.status == "KILLED"
    assert gone.data.tags["lrsearch.state"] == "lost"
    assert gone.info.lifecycle_stage == "deleted"


class Slow(BaseHTTPRequestHandler):
    """A server that answers late, and with an error."""

    def do_GET(self):
        self.server.asked += 1
        time.sleep(1.5)
        self.send_error(500)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_a_slow_failing_server_gets_few_requests_and_does_not_delay_the_search(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server = HTTPServer(("127.0.0.1", 0), Slow)
    server.asked = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tracker = MlflowTracker(f"http://127.0.0.1:{server.server_port}")
    ends = []

    class Timed(Bowl):
        def outcome(self, run):
            ends.append(time.perf_counter())
            return super().outcome(run)

    search(Timed(), tmp_path, tracker=tracker, trials=20, sampler="random")
    server.shutdown()
    server.server_close()
    assert ends[-1] - ends[0] < 1.5
    assert server.asked <= 4
    assert tracker.missed >= 20


@pytest.mark.slow
def test_mlflows_environment_variable_sets_the_experiment_name(tmp_path, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=1)
    assert len(runs_at(uri, "mine")) == 2
    assert MlflowClient(tracking_uri=uri).get_experiment_by_name("lrsearch") is None


@pytest.mark.slow
def test_the_experiment_has_a_description_a_primary_metric_and_a_view(tmp_path, uri):
    search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=1)
    tags = MlflowClient(tracking_uri=uri).get_experiment_by_name("lrsearch").tags
    assert "parent run" in tags["mlflow.note.content"]
    assert tags["mlflow.experiment.primaryMetric.name"] == "value"
    (view,) = [v for k, v in tags.items() if k.startswith("mlflow.sharedViewState.lrsearch-")]
    assert "metrics.`value`" in json.loads(view)["selectedColumns"]


@pytest.mark.slow
def test_training_data_are_a_logged_input_and_several_seeds_are_one_curve(uri):
    result = api.tune("two-moons", trials=1, steps=30, seeds=3, tracking_uri=uri, compare=False)
    runs = runs_at(uri)
    (given,) = runs["parent"].inputs.dataset_inputs
    assert given.dataset.name == "two-moons"
    assert json.loads(given.dataset.profile)["samples"] == 400
    history = MlflowClient(tracking_uri=uri).get_metric_history(
        runs["trial-0000"].info.run_id, "loss"
    )
    curves = [outcome.traces["loss"].values for outcome in result.trials[0].outcomes]
    means = [sum(values) / 3 for values in zip(*curves, strict=True)]
    assert [point.value for point in history] == pytest.approx(means)


def test_different_data_have_different_digests():
    one, same, other = (
        describe_data(make("two-moons", {"noise": noise}).task) for noise in (0.2, 0.2, 0.3)
    )
    assert one == same
    assert one["digest"] != other["digest"]


def test_the_mean_of_curves_counts_only_seeds_that_have_not_ended():
    long, short = Trace((0, 1, 2, 3), (1.0, 1.0, 1.0, 1.0)), Trace((0, 2), (3.0, 5.0))
    assert mean_trace([long, short]) == Trace((0, 1, 2, 3), (2.0, 2.5, 3.0, 1.0))
    assert mean_trace([]) == Trace((), ())
    assert mean_trace([short]) == short


@pytest.mark.slow
def test_a_failed_trial_shows_its_traceback(tmp_path):
    import lrsearch

    @lrsearch.objective(peak=(0.1, 1.0))
    def broken(run):
        raise KeyError("no such layer")

    uri = f"sqlite:///{tmp_path}/m.db"
    with pytest.raises(SearchFailed):
        lrsearch.tune(broken, trials=3, tracking_uri=uri, compare=False)
    child = runs_at(uri)["trial-0000"]
    assert child.info.status == "FAILED"
    assert 'raise KeyError("no such layer")' in child.data.tags["mlflow.note.content"]
    assert "KeyError" in child.data.tags["lrsearch.reason"]


def test_messages_do_not_contain_passwords():
    uri = "postgresql://me:s3cret@host/db"
    said = redact_text(f"could not connect to {uri}: s3cret is wrong", uri)
    assert "s3cret" not in said
    assert redact_text("plain", "sqlite:///x.db") == "plain"


def test_a_password_is_not_stored_and_must_be_given_again():
    api.tune("quadratic", tracking_uri="none", **WORDS, compare=False)
    store = Store.read(Location.of("quadratic-default"))
    store.set_tracking("postgresql://me:***@host/db", "run")
    with pytest.raises(RequestError, match=r"me:\*\*\*@host/db, whose password is not stored"):
        publishing.sync("quadratic-default")


@pytest.mark.parametrize("command", ["sync", "ui"])
def test_a_study_without_tracking_and_a_missing_study_are_rejected(command, capsys):
    assert main([command, "nothing"]) == 2
    assert "there is no study 'nothing'" in capsys.readouterr().err
    api.tune("quadratic", tracking_uri="none", **WORDS, compare=False)
    assert main([command, "quadratic-default"]) == 2
    assert "was searched without tracking; give --tracking-uri" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_that_start_together_in_an_empty_folder_all_succeed(tmp_path):
    code = (
        "import sys, lrsearch\n"
        "lrsearch.tune('quadratic', trials=2, steps=20, study=sys.argv[1], sampler='random',\n"
        "              tracking_uri='sqlite:///m.db')\n"
    )
    together = [
        subprocess.Popen([sys.executable, "-c", code, f"s{i}"], cwd=tmp_path) for i in range(8)
    ]
    assert [process.wait(240) for process in together] == [0] * 8
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/m.db")
    found = client.search_runs([client.get_experiment_by_name("lrsearch").experiment_id])
    parents = [run for run in found if run.data.tags["lrsearch.kind"] == "study"]
    assert sorted(run.info.run_name for run in parents) == [f"s{i}" for i in range(8)]
    assert {run.info.status for run in found} == {"FINISHED"}


@pytest.mark.slow
def test_records_that_a_killed_server_did_not_store_are_uploaded_later(uri, tmp_path, monkeypatch):
    """MLflow's server is killed during the search, and started again for the upload."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port()

    class Dying(Bowl):
        def outcome(self, run):
            if run.trial == 3:
                wait_until(lambda: tracker._answered >= 3, 60)
                os.killpg(server._process.pid, signal.SIGKILL)
                server._process.wait(30)
            return super().outcome(run)

    with MlflowServer(uri, port) as server:
        tracker = MlflowTracker(server.address)
        search(Dying(), tmp_path, tracker=tracker, trials=6)
    assert tracker.missed > 0
    with MlflowServer(uri, port) as server:
        publishing.sync("s", storage=tmp_path / "x.journal", tracking_uri=server.address)
    runs = runs_at(uri)
    assert trials(runs) == [f"trial-{i:04d}" for i in range(6)]
    assert {run.info.status for run in runs.values()} <= {"FINISHED", "KILLED", "FAILED"}


@pytest.mark.slow
def test_a_full_disk_stops_neither_the_search_nor_a_later_upload(tmp_path, uri, empty_database):
    small = tmp_path / "small"
    small.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    mount = {"capture_output": True, "timeout": 30, "check": False}
    if os.getuid() or subprocess.run(words, **mount).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        shutil.copy(empty_database, small / "m.db")
        tracker = MlflowTracker(f"sqlite:///{small}/m.db")
        result = search(Bowl(), tmp_path, tracker=tracker, trials=400, sampler="random")
        assert len(result.trials) == 400
        assert tracker.missed > 0
    finally:
        subprocess.run(["umount", "-l", str(small)], timeout=30, check=True)
    publishing.sync("s", storage=tmp_path / "x.journal", tracking_uri=uri)
    assert len(trials(runs_at(uri))) == 400


def test_a_port_in_use_is_rejected_with_advice(uri):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=rf"port {port} is in use .*choose another `port=`"):
            MlflowServer(uri, port)


def test_serving_a_store_without_pages_is_rejected(uri, capsys):
    assert main(["ui", "--tracking-uri", "none"]) == 2
    assert "there are no pages" in capsys.readouterr().err
    assert main(["ui", "--tracking-uri", "sqlite:///not-there.db"]) == 2
    assert "there is no file not-there.db" in capsys.readouterr().err
    assert main(["ui", "--tracking-uri", uri]) == 2
    assert "has no experiment 'lrsearch' yet" in capsys.readouterr().err
