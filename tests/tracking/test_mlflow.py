"""The records of a study in MLflow, read with MLflow's own client."""

import json
import math
import re
import shlex
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from lrsearch import api
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.objectives.builtin import make
from lrsearch.outcome import Outcome
from lrsearch.redaction import redact
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.trace import Trace
from lrsearch.tracking.mlflow_tracker import MlflowTracker
from lrsearch.tracking.uri import check_uri
from tests.doubles import Bowl, search, wait_until


class Mixed(Bowl):
    """An objective whose runs finish, diverge, are pruned and fail in turn, with long curves."""

    def outcome(self, run):
        state = ("finished", "diverged", "pruned", "failed")[run.trial % 4]
        loss = Trace.of(range(3000), [1.0 / (t + 1) for t in range(3000)])
        run.note("accuracy", 0.5)
        value = self.value(run) if state == "finished" else None
        reason = "" if state == "finished" else f"it was {state}"
        return run.end(state, value, reason=reason, traces={"loss": loss}, updates=9)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A study of seven trials: folder, URI, result, MLflow client, and all its runs in MLflow."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    tracker, words = MlflowTracker(uri), {"trials": 6, "sampler": "random"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where MLflow stores artifacts
        result = search(Mixed(), folder, space=result_space(), tracker=tracker, **words)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    return folder, uri, result, client, runs


def result_space():
    return Space.from_yaml("decay: cosine\nwarmup: {low: 0, high: 0.3}\nbatch_growth: 2")


def short(peak):
    mantissa, _, exponent = f"{peak:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def of_kind(runs, kind):
    return [run for run in runs if run.data.tags["lrsearch.kind"] == kind]


def trial_runs(runs):
    return {int(run.data.tags["lrsearch.trial"]): run for run in of_kind(runs, "trial")}


def test_a_study_is_a_parent_run_that_ends_finished(tracked):
    _, uri, result, _, runs = tracked
    (parent,) = of_kind(runs, "study")
    assert parent.info.run_id == result.run_id
    assert api.load("s", storage=result.storage).run_id == result.run_id
    assert result.tracking_uri == uri
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "s"
    assert parent.data.params["objective"] == "bowl"
    assert parent.data.params["space.batch_growth"] == "2.0"
    assert parent.data.metrics["value"] == result.best.value
    assert parent.data.metrics["trials/pruned"] == 2
    assert parent.data.tags["lrsearch.best_trial"] == str(result.best.index)
    assert parent.data.tags["lrsearch.state"] == "finished"
    assert parent.data.tags["version.optuna"] == version("optuna")
    assert re.fullmatch("[0-9a-f]{12}", parent.data.tags["lrsearch.digest.space"])


def test_the_convergence_curve_falls_to_the_best_value_at_the_last_trial(tracked):
    _, _, result, client, _ = tracked
    curve = client.get_metric_history(result.run_id, "best/value")
    values = [point.value for point in curve]
    assert values == sorted(values, reverse=True)
    assert (curve[-1].step, curve[-1].value) == (result.trials[-1].index, result.best.value)
    by_index = {trial.index: trial.value for trial in result.trials}
    assert all(by_index[point.step] == point.value for point in curve[:-1])


def test_every_trial_is_a_child_run_with_its_fields_and_value(tracked):
    _, _, result, _, runs = tracked
    children = trial_runs(runs)
    assert sorted(children) == list(range(7))
    for trial in result.trials:
        run = children[trial.index]
        assert run.data.tags["mlflow.parentRunId"] == result.run_id
        fields = trial.schedule.to_dict()
        named = {*result_space().entries, "peak"}
        expected = {name: str(fields[name]) for name in named}
        logarithm = f"{math.log10(trial.schedule.peak):.6g}"
        assert run.data.params == {**expected, "log10_peak": logarithm}
        assert run.info.run_name == f"{trial.index:04d} cosine {short(trial.schedule.peak)}"
        assert run.data.metrics.get("value") == trial.value
        assert run.data.metrics["accuracy"] == 0.5
        assert run.data.tags.get("lrsearch.reason", "") == trial.reason


def test_the_status_of_a_run_matches_the_state_of_its_trial(tracked):
    status = {"finished": "FINISHED", "diverged": "FINISHED", "pruned": "KILLED"}
    for run in trial_runs(tracked[4]).values():
        state = run.data.tags["lrsearch.state"]
        assert run.info.status == status.get(state, "FAILED")


def test_curves_show_the_plan_and_the_loss_with_at_most_500_points(tracked):
    _, _, result, client, runs = tracked
    run = trial_runs(runs)[0]
    plan = result.budget.plan(result.trials[0].schedule)
    scale = plan.lr / plan.batch
    for name, truth in (("lr", plan.lr), ("batch", plan.batch), ("rate_over_batch", scale)):
        history = client.get_metric_history(run.info.run_id, name)
        done = result.trials[0].outcomes[0].updates
        assert [m.step for m in history] == list(range(min(done, len(plan))))
        assert [m.value for m in history] == [float(v) for v in truth[:done]]
    loss = client.get_metric_history(run.info.run_id, "loss")
    assert len(loss) == 500
    assert (loss[0].step, loss[-1].step) == (0, 2999)
    assert all(m.value == 1.0 / (m.step + 1) for m in loss)
    assert client.get_metric_history(run.info.run_id, "momentum") == []


def test_a_continued_search_keeps_its_parent_run(tracked):
    folder, uri, result, client, runs = tracked
    words = {"space": result_space(), "trials": 7, "sampler": "random"}
    again = search(Mixed(), folder, tracker=MlflowTracker(uri), **words)
    assert again.run_id == result.run_id
    found = client.search_runs([runs[0].info.experiment_id], max_results=100)
    assert len(found) == len(runs) + 2  # trial 7 fails, trial 8 replaces it


@pytest.mark.slow
def test_a_retried_trial_replaces_its_failed_run(tmp_path, uri):
    class Broken(Bowl):
        def outcome(self, run):
            if run.trial in (1, 2):
                return run.end("failed", reason="OSError: no space left")
            return super().outcome(run)

    search(Broken(), tmp_path, trials=2, tracker=MlflowTracker(uri))
    search(Broken(), tmp_path, trials=2)  # retries without a tracker, and fails again
    search(Bowl(), tmp_path, trials=2)
    result = search(Bowl(), tmp_path, trials=5, tracker=MlflowTracker(uri))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    tracked = of_kind(client.search_runs([experiment], max_results=100), "trial")
    assert sorted(int(run.data.tags["lrsearch.trial"]) for run in tracked) == list(range(5))
    values = {int(run.data.tags["lrsearch.trial"]): run.data.metrics["value"] for run in tracked}
    assert values == {trial.index: trial.value for trial in result.trials}
    assert {run.info.status for run in tracked} == {"FINISHED"}


def test_an_interrupted_search_ends_its_parent_run_as_failed(tmp_path, uri):
    with pytest.raises(KeyboardInterrupt):
        search(Bowl(stop_after=2), tmp_path, tracker=MlflowTracker(uri), trials=9)
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("lrsearch").experiment_id])
    (parent,) = of_kind(runs, "study")
    assert parent.info.status == "FAILED"
    assert len(of_kind(runs, "trial")) == 2


def test_a_search_sets_no_active_run(tmp_path, uri):
    search(Bowl(), tmp_path, tracker=MlflowTracker(uri), trials=1)
    assert mlflow.active_run() is None


def test_a_dead_server_does_not_stop_the_search(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MlflowTracker("http://127.0.0.1:9")
    result = search(Bowl(), tmp_path, tracker=tracker, trials=3)
    assert len(result.trials) == 3
    assert result.run_id is None
    assert "records could not be written to MLflow" in caplog.text
    assert "upload them with `lrsearch sync s --storage " in caplog.text
    assert str(tmp_path / "x.journal") in caplog.text


def test_no_process_and_no_thread_remain_after_a_search(tmp_path):
    before = threading.active_count()
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/m.db")
    search(Bowl(), tmp_path, tracker=tracker, trials=1)
    assert tracker._process.poll() == 0
    assert threading.active_count() == before


def test_the_parent_run_of_a_killed_search_is_marked_as_killed(tmp_path, uri):
    code = (
        "import os, pathlib, sys\n"
        "from tests.doubles import Bowl, search, wait_until\n"
        "from lrsearch.tracking.mlflow_tracker import MlflowTracker\n"
        "class Deadly(Bowl):\n"
        "    def outcome(self, run):\n"
        "        if run.trial == 3:\n"
        "            wait_until(lambda: tracker.run_id is not None)\n"
        "            os.kill(os.getpid(), 9)\n"
        "        return super().outcome(run)\n"
        "tracker = MlflowTracker(sys.argv[2])\n"
        "search(Deadly(), pathlib.Path(sys.argv[1]), tracker=tracker)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), uri]
    root = Path(__file__).parent.parent.parent
    assert subprocess.run(command, check=False, cwd=root, timeout=120).returncode == -9
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("lrsearch").experiment_id

    def killed():
        (parent,) = of_kind(client.search_runs([experiment]), "study")
        return parent if parent.info.status == "KILLED" else None

    assert wait_until(killed, 60).data.tags["lrsearch.state"] == "killed"


def test_infinite_and_nan_numbers_are_not_written(tmp_path):
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/m.db")

    class Wild(Bowl):
        def outcome(self, run):
            loss = Trace.of(range(4), [1.0, math.inf, math.nan, 2.0])
            return Outcome(
                trial=run.trial, replicate=0, state="diverged", traces={"loss": loss}, updates=4
            )

    search(Wild(), tmp_path, tracker=tracker, trials=1)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/m.db")
    runs = client.search_runs([client.get_experiment_by_name("lrsearch").experiment_id])
    (child,) = of_kind(runs, "trial")
    history = client.get_metric_history(child.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(0, 1.0), (3, 2.0)]


@pytest.mark.parametrize("uri", ["file:///tmp/x", "./mlruns", "mlflow.db", ""])
def test_plain_files_are_rejected(uri):
    with pytest.raises(RequestError, match="not a database or server"):
        check_uri(uri)


@pytest.mark.parametrize("uri", ["none", "sqlite:///x.db", "http://host:5000", "databricks://x"])
def test_databases_and_servers_are_accepted(uri):
    assert check_uri(uri) == uri


def test_passwords_are_not_shown():
    assert redact("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert redact("http://host:5000") == "http://host:5000"


def test_the_environment_sets_the_default_uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert MlflowTracker().uri == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert MlflowTracker().uri == "http://host:5000"


@pytest.mark.slow
def test_a_compared_study_shows_its_comparison_in_mlflow(tmp_path, uri, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"trials": 6, "steps": 60, "sampler": "random", "tracking_uri": uri}
    result = api.tune("quadratic", **words, compare=False)
    client = MlflowClient(tracking_uri=uri)
    before = client.get_run(result.run_id).data.tags["mlflow.note.content"]
    assert before.startswith(f"**Best of 6 trials: {result.best.value:.4g}")
    assert "It was not compared" in before
    found = api.compare(result)
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    chosen = found.recommended
    assert run.data.metrics["recommended"] == chosen.value
    assert run.data.tags["lrsearch.recommended"] == chosen.name
    assert run.data.tags["lrsearch.evidence"] == chosen.evidence
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"**{chosen.sentence}**")
    assert len(note) < 8000
    for name, versus in found.versus.items():
        assert re.search(rf"^\| {name}( \*)? \| .* \| {versus.verdict} \|$", note, re.M)
    assert "lrsearch export quadratic-default --to torch" in note
    kept = {artifact.path for artifact in client.list_artifacts(result.run_id)}
    assert kept == {
        *("report.html", "schedule.json", "schedule.csv"),
        *("study.png", "space.yaml", "leaderboard.json"),
    }
    runs = client.search_runs([run.info.experiment_id], max_results=100)
    rivals = {r.data.tags["lrsearch.contender"]: r for r in of_kind(runs, "comparison")}
    assert set(rivals) == {found.best.name, *found.versus}
    for contender in (found.best, *found.baselines):
        child = rivals[contender.name]
        assert child.data.metrics["value"] == contender.value
        assert child.data.params["peak"] == str(contender.schedule.peak)
        plan = contender.schedule.plan(60, 4)
        history = client.get_metric_history(child.info.run_id, "lr")
        assert [point.value for point in history] == plan.lr.tolist()
    table = client.download_artifacts(result.run_id, "leaderboard.json", str(tmp_path))
    rows = json.loads(Path(table).read_text())
    ranks = [row[rows["columns"].index("trial")] for row in rows["data"]]
    assert ranks == [trial.index for trial in result.ranked]
    space = client.download_artifacts(result.run_id, "space.yaml", str(tmp_path))
    command = next(line for line in note.splitlines() if line.startswith("lrsearch tune"))
    words = [*shlex.split(command)[1:], "--tracking-uri", "none", "--study", "again"]
    assert Path(space).name == "space.yaml"
    assert main([*words, "--no-compare", "--quiet"]) == 0
    again = api.load("again").best  # the command repeats the search
    assert (again.schedule, again.value) == (result.best.schedule, result.best.value)
    api.compare(result, seeds=6)  # replaces the runs of the comparison
    runs = client.search_runs([run.info.experiment_id], max_results=100)
    assert len(of_kind(runs, "comparison")) == len(rivals)
    path = client.download_artifacts(result.run_id, "schedule.json", str(tmp_path))
    assert Schedule.load(Path(path)) == found.best.schedule


@pytest.mark.slow
def test_the_winning_model_is_logged_and_registered_and_loads_without_pickle(uri, tmp_path):
    import torch

    result = api.tune(
        "two-moons",
        trials=3,
        steps=60,
        tracking_uri=uri,
        log_model="moons",
        slots=1,
        compare=False,
    )
    mlflow.set_tracking_uri(uri)
    try:
        loaded = mlflow.pytorch.load_model("models:/moons/1")
        files = mlflow.artifacts.download_artifacts(
            "models:/moons/1", dst_path=str(tmp_path / "m")
        )
    finally:
        mlflow.set_tracking_uri(None)
    names = [path.name for path in Path(files).rglob("*") if path.is_file()]
    assert "model.pt2" in names
    assert not [name for name in names if name.endswith((".pkl", ".pth", ".pickle"))]
    task = make("two-moons").task
    with torch.no_grad():
        value = task.loss(loaded, task.validation).mean().item()
    assert value == pytest.approx(result.best.value, rel=1e-5)  # the model of the best trial
    assert MlflowClient(tracking_uri=uri).get_run(result.run_id).info.status == "FINISHED"


def test_logging_the_model_of_an_objective_without_one_is_rejected():
    with pytest.raises(
        RequestError, match="quadratic has no model to log, because it is not a task"
    ):
        api.tune("quadratic", log_model="", tracking_uri="none", compare=False)
