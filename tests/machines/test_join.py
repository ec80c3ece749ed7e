"""The printed command that joins a search from another machine, and whether it works."""

import platform
import shlex

import pytest

from lrsearch import api
from lrsearch.cli import main
from tests.doubles import launch, read_line
from tests.machines.postgres import PASSWORD

TRAIN = """
import time, lrsearch

@lrsearch.objective(peak=(1e-3, 1.0), steps=5, unit="points")
def nap(run):
    time.sleep(0.3)
    return float(run.plan.lr[0])
"""
COMMON = ["--no-compare", "--tracking-uri", "none"]


def first_line(process):
    """Return the command in the first line that a process prints."""
    line = read_line(process.stderr)
    said, _, command = line.strip().partition(": ")
    assert said == "to join from another machine"
    return command


@pytest.mark.slow
def test_the_first_line_is_a_command_that_joins_the_search(database, tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text(TRAIN)
    words = ["--trials", "24", "--sampler", "random", "--set", "peak=0.01..1", *COMMON]
    words = ["tune", "train.py:nap", *words, "--storage", database]
    one = launch(*words, folder=tmp_path / "here")
    command = first_line(one)
    assert platform.node() in command
    typed = shlex.split(command.replace(platform.node(), "127.0.0.1"))
    assert typed[:3] == ["lrsearch", "tune", "train.py:nap"]
    other = launch(*typed[1:], folder=tmp_path / "there")
    assert first_line(other) == command
    for process in (one, other):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "24 trials (24 finished)" in out
    trials = api.load("nap-default", storage=database).trials
    assert [t.index for t in trials] == list(range(24))
    assert {t.retries for t in trials} == {0}


@pytest.mark.slow
def test_a_second_machine_waits_if_a_study_was_created_for_one_run(database, tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    words = ["tune", "train.py:nap", "--trials", "8", "--sampler", "tpe", *COMMON]
    words += ["--storage", database]
    both = [launch(*words, folder=tmp_path) for _ in range(2)]
    printed = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert any("which another process runs" in err for err in printed)
    assert any("--parallel" in err for err in printed)


@pytest.mark.parametrize("given", ["words", "variables"])
def test_the_command_has_all_settings_and_no_password(database, capsys, monkeypatch, given):
    url = database.replace("me@", f"me:{PASSWORD.replace('/', '%2F')}@")
    words = ["--trials", "3", "--steps", "30", "--storage", url, "--sampler", "random"]
    if given == "variables":
        for name, value in zip(words[::2], words[1::2], strict=True):
            monkeypatch.setenv(f"LRSEARCH_{name[2:].upper()}", value)
        words = []
    more = ["--set", "warmup=0.1", "--set", "peak=1e-3..0.1", "--json", "--timeout", "90s"]
    assert main(["tune", "quadratic", *more, *words, *COMMON]) == 0
    command = capsys.readouterr().err.splitlines()[0].partition(": ")[2]
    assert command.endswith("(with its password for ***)")
    typed = shlex.split(command.removesuffix(" (with its password for ***)"))
    shown = database.replace("me@", "me:***@").replace("127.0.0.1", platform.node())
    assert typed == [
        *("lrsearch", "tune", "quadratic", "--set", "warmup=0.1", "--set", "peak=1e-3..0.1"),
        *("--trials", "3", "--timeout", "90s", "--steps", "30", "--sampler", "random"),
        *("--storage", shown, "--tracking-uri", "none", "--no-compare"),
    ]


def test_a_search_in_a_journal_and_a_quiet_search_print_no_such_command(
    database, tmp_path, capsys
):
    words = ["tune", "quadratic", "--trials", "2", "--steps", "30", *COMMON]
    assert main(words) == 0
    assert main([*words, "--storage", database, "--quiet"]) == 0
    assert "join" not in capsys.readouterr().err
