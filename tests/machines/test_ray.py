"""Workers on a real Ray cluster with several nodes on this machine."""

import collections
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lrsearch import api
from lrsearch.cli import main
from tests.doubles import launch, wait_until

pytestmark = pytest.mark.slow

TRAIN = """
import math, os, pathlib, sys, time
import lrsearch
from helper import PAUSE  # a module beside this one, which must be shipped, too


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, unit="points", positive=True)
def nap(run):
    import ray

    here = ray.get_runtime_context().get_node_id()
    pathlib.Path(os.environ["MARKS"], f"{run.trial}-{here}").touch()
    print("trained by", here)
    time.sleep(PAUSE)
    run.report(0, 1.0)
    return 0.1 + (math.log10(run.plan.lr.max()) + 1.5) ** 2


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, unit="points")
def killer(run):
    if run.trial == 2:
        os._exit(7)
    return 1.0


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, unit="points")
def shares(run):
    time.sleep(0.3)
    run.note("gpus", len(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))
    run.note("gpu", float(os.environ.get("CUDA_VISIBLE_DEVICES") or -1))
    return 1.0
"""


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Return a function that starts a cluster; tests add nodes to it and remove some."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "helper.py").write_text("PAUSE = 0.5\n")
    from ray.cluster_utils import Cluster

    clusters = []

    def make(**head):
        clusters.append(Cluster(initialize_head=True, head_node_args={"num_gpus": 0, **head}))
        return clusters[0]

    yield make
    for cluster in clusters:
        cluster.shutdown()


def begin(cluster, *words):
    command = ["tune", *words, "--engine", "ray", "--address", cluster.address]
    quick = ["--no-compare", "--tracking-uri", "none", "--sampler", "random", "--json"]
    return launch(*command, *quick)


def end(process, code=0):
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err[-3000:]
    return (json.loads(out) if out else None), err


def wait_for(folder, marks):
    wait_until(lambda: len(list(folder.iterdir())) >= marks, 120)


def where(folder):
    """Return the number of runs that each node has started."""
    return collections.Counter(mark.name.partition("-")[2] for mark in folder.iterdir())


def test_a_search_continues_when_a_node_is_lost_and_another_joins(start, tmp_path):
    cluster, marks = start(num_cpus=1), tmp_path / "marks"
    lost = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)][1]
    process = begin(cluster, "train.py:nap", "--workers", "3", "--trials", "60")
    wait_for(marks, 12)
    cluster.remove_node(lost)
    fresh = cluster.add_node(num_cpus=1)
    result, err = end(process)
    assert result["trials"] == {"finished": 60, "diverged": 0, "pruned": 0, "failed": 0}
    trials = api.load("nap-default").trials
    assert [t.index for t in trials] == list(range(60))
    retries = sum(t.retries for t in trials)
    assert 1 <= retries <= 2  # the node's running trial, and perhaps one just sent to it
    nodes = where(marks)
    assert sum(nodes.values()) == 60 + retries
    assert set(nodes) == {n.node_id for n in (*cluster.worker_nodes, cluster.head_node, lost)}
    assert nodes[fresh.node_id] > 3
    assert "trained by" in err  # output of the workers


def test_workers_without_free_resources_start_when_a_node_joins(start, tmp_path):
    cluster, marks = start(num_cpus=1), tmp_path / "marks"
    process = begin(cluster, "train.py:nap", "--workers", "3", "--trials", "40")
    wait_for(marks, 4)
    assert len(where(marks)) == 1
    cluster.add_node(num_cpus=2)
    result, _ = end(process)
    assert result["trials"]["finished"] == 40
    assert len(where(marks)) == 2
    assert min(where(marks).values()) > 5


def test_a_run_that_kills_its_worker_fails_and_sigterm_releases_running_trials(start, tmp_path):
    cluster = start(num_cpus=2)
    process = begin(cluster, "train.py:killer", "--trials", "5", "--max-retries", "1")
    result, _ = end(process)
    assert result["trials"] == {"finished": 5, "diverged": 0, "pruned": 0, "failed": 1}
    assert "its process died 2 times" in api.load("killer-default").trials[2].reason

    process = begin(cluster, "train.py:nap", "--trials", "40")
    wait_for(tmp_path / "marks", 6)
    process.send_signal(signal.SIGTERM)
    assert "continue with the same command" in end(process, 143)[1]
    assert end(begin(cluster, "train.py:nap", "--trials", "10"))[0]["trials"]["finished"] == 10
    assert sum(t.retries for t in api.load("nap-default").trials) == 0


def test_workers_share_gpus_and_by_default_fill_the_cluster(start):
    cluster = start(num_cpus=8, num_gpus=2)
    result, _ = end(begin(cluster, "train.py:shares", "--worker-gpus", "0.5", "--trials", "24"))
    assert result["trials"]["finished"] == 24
    notes = [t.outcomes[0].figures for t in api.load("shares-default").trials]
    assert {note["gpu"] for note in notes} == {0.0, 1.0}
    assert {note["gpus"] for note in notes} == {1.0}
    words = ["--trials", "12", "--study", "whole", "--workers", "2"]
    process = begin(cluster, "train.py:shares", *words)
    assert end(process)[0]["trials"]["finished"] == 12


def test_a_population_on_the_cluster_has_the_values_of_a_local_one(start):
    cluster = start(num_cpus=2)
    words = ["digits", "--workers", "2", "--slots", "2", "--steps", "20", "--trials", "8"]
    end(begin(cluster, *words))
    far = api.load("digits-default")
    near = api.tune(
        "digits",
        slots=4,
        steps=20,
        trials=8,
        sampler="random",
        study="here",
        tracking_uri="none",
        compare=False,
    )
    assert [t.schedule for t in far.trials] == [t.schedule for t in near.trials]
    for one, other in zip(far.trials, near.trials, strict=True):
        assert one.state == other.state
        assert one.value == pytest.approx(other.value, rel=1e-9)
        assert one.diagnostics.keys() == other.diagnostics.keys()


def test_a_missing_cluster_is_one_error_line(tmp_path, monkeypatch, capsys):
    """`ray.init` is replaced, as a real `auto` would find the clusters of other tests."""
    import ray

    def init(**words):
        assert words["address"] == "auto"
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", init)
    assert main(["tune", "digits", "--engine", "ray"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("lrsearch: cannot join a Ray cluster at auto (Could not find any")
    assert said.count("\n") == 1
    assert "ray start --head" in said


def test_ray_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["tune", "digits", "--engine", "ray"]) == 2
    assert "pip install 'lrsearch[ray]'" in capsys.readouterr().err


def test_the_three_commands_of_the_readme_work(start, database, tmp_path, monkeypatch):
    """The commands go from one laptop to a database to Ray."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    fence = re.search("## More than one machine\n\n```sh\n(.*?)```", text, re.S)[1]
    lines = [line.partition("#")[0].strip() for line in fence.splitlines()]
    assert len(lines) == 3
    quick = '@lrsearch.objective(peak=(1e-3, 1.0), steps=20, unit="points")'
    code = f"import lrsearch\n\n\n{quick}\ndef small_gpt(run):\n    return float(run.plan.lr[0])\n"
    (tmp_path / "train.py").write_text(code)
    cluster = start(num_cpus=2)
    for name, value in (
        ("LRSEARCH_SAMPLER", "random"),
        ("LRSEARCH_TRACKING_URI", "none"),
        ("LRSEARCH_NO_COMPARE", "1"),
        ("LRSEARCH_JSON", "1"),
        ("RAY_ADDRESS", cluster.address),
    ):
        monkeypatch.setenv(name, value)
    found = []
    for line in lines:
        words = shlex.split(line.replace("postgresql://me@db/lr", database))
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads(done.stdout))
    assert [sum(result["trials"].values()) for result in found] == [100, 100, 200]
    assert found[1]["storage"] == found[2]["storage"] == database
    assert "to join from another machine: lrsearch tune train.py:small_gpt" in done.stderr


def test_a_command_runs_on_the_cluster_with_several_gpus(start, tmp_path):
    cluster = start(num_cpus=4)
    cluster.add_node(num_cpus=2, num_gpus=4)
    (tmp_path / "script.py").write_text(
        "import os, helper\nprint('val loss', len(os.environ['CUDA_VISIBLE_DEVICES'].split(',')))"
    )
    words = ["--trials", "3", "--steps", "20", "--set", "peak=1e-3..1", "--worker-gpus", "2"]
    words += ["--engine", "ray", "--address", cluster.address, "--value", "val loss {value}"]
    words += ["--tracking-uri", "none", "--no-compare", "--sampler", "random", "--json"]
    search = launch("tune", *words, "--", sys.executable, "script.py", "{lr_csv}")
    out, err = search.communicate(timeout=180)
    assert search.returncode == 0, err
    assert json.loads(out)["trials"]["finished"] == 3
    assert json.loads(out)["best"]["value"] == 2.0
