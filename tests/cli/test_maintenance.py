"""`lrsearch status`, `repair` and `doctor`."""

import importlib.metadata
import json
import os
import re
import shutil

import pytest

from lrsearch import maintenance
from lrsearch.cli import main
from lrsearch.study.heartbeat import Heartbeat
from lrsearch.study.location import Location
from lrsearch.study.store import Store

TUNE = ["tune", "quadratic", "--tracking-uri", "none", "--sampler", "random", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def study(here):
    assert main([*TUNE, "--trials", "8", "--no-compare"]) == 0
    return here / "lrsearch-studies" / "quadratic-default.journal"


def test_status_shows_trials_by_state_workers_and_the_last_change(study, capsys):
    capsys.readouterr()
    store = Store.read(Location("quadratic-default", study))
    with Heartbeat(store.storage, store.key, store.lock, store.clock) as heartbeat:
        running = store.table.join(heartbeat)
        assert running.begin(8, {})
        assert main(["status"]) == 0
        head, row = capsys.readouterr().out.splitlines()
        assert head.split()[:7] == [
            *("study", "finished", "diverged", "pruned", "failed", "running", "workers")
        ]
        cells = row.split()
        assert cells[0] == "quadratic-default"
        assert sum(map(int, cells[1:5])) == 8
        assert cells[5:7] == ["1", "1"]
        assert row.endswith("s ago")
        assert main(["status", "quadratic-default"]) == 0
        out = capsys.readouterr().out
        assert f"worker {os.getpid()} on " in out
        assert "running: trial 8\n" in out
        running.release()
    assert main(["status", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["running"], found["workers"], found["trouble"]) == ([], [], "")
    assert sum(found["trials"].values()) == 8
    assert found["best"] > 0


def test_status_names_trials_that_were_lost_with_their_process(study, monkeypatch, capsys):
    store = Store.read(Location("quadratic-default", study))
    heartbeat = Heartbeat(store.storage, store.key, store.lock, store.clock)
    heartbeat._enlist()
    assert store.table.join(heartbeat).begin(8, {})  # and then it dies
    capsys.readouterr()
    assert main(["status", "quadratic-default"]) == 0
    out = capsys.readouterr().out
    assert "interrupted with their process: trial 8; the next search runs them again" in out
    assert main([*TUNE, "--trials", "9", "--no-compare"]) == 0
    capsys.readouterr()
    assert main(["status", "quadratic-default"]) == 0
    assert "retried so far: 1" in capsys.readouterr().out


def test_status_of_nothing_and_of_an_unknown_study(here, capsys):
    assert main(["status"]) == 0
    assert "no studies here; `lrsearch tune` creates one" in capsys.readouterr().out
    assert main(["status", "nothing"]) == 2
    assert "there is no study 'nothing'" in capsys.readouterr().err
    assert main(["status", "--storage", "x.journal"]) == 2
    assert "name one" in capsys.readouterr().err


def test_a_damaged_study_is_named_repaired_and_continued(study, capsys):
    lines = study.read_bytes().splitlines(keepends=True)
    location = next(i for i, line in enumerate(lines) if b'"op_code":8' in line)
    lines[location] = lines[location].replace(b"finished", b"finishes")
    study.write_bytes(b"".join(lines))
    capsys.readouterr()
    assert main(["show", "quadratic-default"]) == 2
    said = capsys.readouterr().err
    command = re.search(r"`lrsearch (repair [^`]*)`", said)[1]
    assert main(["status"]) == 0
    assert "cannot be read" in capsys.readouterr().out
    assert main(["status", "quadratic-default"]) == 2
    assert main(["doctor", "--tracking-uri", "none"]) == 1
    assert "1 of 1 studies cannot be read" in capsys.readouterr().out
    assert main(command.split()) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"removed 1 damaged of \d+ records; the old file is .*\.journal\.damaged-1\n", out
    )
    assert "has 7 trials; the next search runs trial 0 again" in out
    assert main([*TUNE, "--trials", "8", "--no-compare"]) == 0
    assert "8 trials" in capsys.readouterr().out


def test_a_study_in_use_is_not_repaired(study, capsys):
    store = Store.read(Location("quadratic-default", study))
    with Heartbeat(store.storage, store.key, store.lock, store.clock):
        assert main(["repair", "quadratic-default"]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert main(["repair", "quadratic-default"]) == 0


def test_doctor_says_what_is_installed_and_reachable(study, capsys):
    capsys.readouterr()
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[1] for line in lines]
    assert names[0] == "python"
    assert {"lrsearch", "torch", "optuna", "mlflow"} <= set(names)
    assert names[-5:] == ["device", "storage", "disk", "tracking", "studies"]
    assert all(line.startswith("ok ") for line in lines)
    assert "which the first search creates" in lines[-2]
    assert not (study.parent.parent / "mlflow.db").exists()
    assert sorted(p.name for p in study.parent.iterdir()) == [
        "quadratic-default.journal",
        "quadratic-default.lock",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tracking-uri", "http://127.0.0.1:9"], "tracking"),
        (["--tracking-uri", "sqlite:///text.db"], "tracking"),
    ],
)
def test_doctor_says_what_is_wrong(here, capsys, words, message):
    (here / "text.db").write_text("no database")
    assert main(["doctor", *words, "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert not found[message]["sound"]
    assert "does not answer" in found[message]["found"]
    assert f"failed check: {message}" in captured.err


def test_an_old_or_missing_package_is_named(monkeypatch):
    versions = {"torch": "2.0.0"}
    monkeypatch.setattr(importlib.metadata, "version", lambda n: versions.get(n, "99.0"))
    old = {check.name: check for check in maintenance.examine(tracking_uri="none")}
    assert not old["torch"].sound
    assert re.search(r"2\.0\.0 is older than 2\.\d+; pip install -U torch", old["torch"].found)
    assert old["optuna"].sound


def test_a_full_disk_is_named(monkeypatch):
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: shutil._ntuple_diskusage(9, 8, 1),
    )
    found = {check.name: check for check in maintenance.examine(tracking_uri="none")}
    assert (found["disk"].sound, "free some disk space" in found["disk"].found) == (False, True)
