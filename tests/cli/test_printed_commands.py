"""Printed commands run as printed, also with blanks and quotes in names and paths."""

import json
import re
import shlex
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import lrsearch
from lrsearch import api, publishing
from lrsearch.cli import main
from lrsearch.errors import printable
from lrsearch.tracking.valid_records import code_block

CODE = """
import lrsearch

@lrsearch.objective(peak=(1e-3, 1.0), steps=20, name="small 'one' ```")
def small(run):
    for t in range(len(run.plan)):
        run.report(t, 1.0)
    return 1.0 + run.plan.lr[0] + 1e-3 * (run.seed % 5)
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Work in a folder with blanks and quotes in its name, with an objective in such a file."""
    folder = tmp_path / 'it\'s a "folder"'
    folder.mkdir()
    (folder / "my train's.py").write_text(CODE)
    (folder / "my studies").mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(command):
    """Run a printed command, and return its exit code."""
    program, *words = shlex.split(command)
    assert program == "lrsearch"
    return main(words)


TRAIN = "my train's.py:small"
STORAGES = ["my studies/it's.journal", "elsewhere/lrsearch-studies/s.journal"]
TUNE = ["--study", "s", "--trials", "4", "--sampler", "random", "--space", "cosine"]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compared", [True, False])
def test_the_next_steps_of_a_search_run_as_printed(odd, capsys, storage, compared):
    Path(storage).parent.mkdir(parents=True, exist_ok=True)
    words = ["tune", TRAIN, *TUNE, "--storage", storage]
    words += ["--tracking-uri", "none", *([] if compared else ["--no-compare"])]
    assert main(words) == 0
    out = capsys.readouterr().out
    commands = re.findall(r"lrsearch (?:show|export|compare) .*?(?=   \(|$)", out, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["show", "export"]
    for command in commands:
        assert run(command) == 0, command
    assert (odd / "s.png").is_file()
    assert (odd / "schedule.py").is_file()


def test_the_commands_of_messages_run_as_printed(odd, capsys):
    storage = STORAGES[0]
    words = ["tune", TRAIN, *TUNE, "--storage", storage, "--tracking-uri", "none"]
    assert main([*words, "--no-compare"]) == 0
    assert main(["export", "s", "--storage", storage, "--schedule", "wsd", "--to", "json"]) == 2
    (command,) = re.findall(r"run `(lrsearch .*)`", capsys.readouterr().err)
    assert run(f"{command} --objective {shlex.quote(TRAIN)}") == 0
    journal = odd / storage
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], lines[4][:-9] + b"x" + lines[4][-8:], *lines[5:]]))
    capsys.readouterr()
    assert main(["show", "s", "--storage", storage]) == 2
    (command,) = re.findall(r"run `(lrsearch repair .*)`, which", capsys.readouterr().err)
    assert run(command.replace("STUDY", "s")) == 0


def test_the_command_in_mlflow_repeats_the_search_and_stays_in_its_block(
    odd, tmp_path, monkeypatch
):
    place = odd / STORAGES[0]
    words = {"study": "s", "storage": place, "sampler": "random", "space": "cosine"}
    lrsearch.tune(TRAIN, trials=4, tracking_uri="none", **words, compare=False)
    monkeypatch.chdir(tmp_path)  # MLflow itself cannot work in a folder with a quote in its name
    uri, run_id = publishing.sync("s", storage=place, tracking_uri=f"sqlite:///{tmp_path}/m.db")
    text = MlflowClient(tracking_uri=uri).get_run(run_id).data.tags["mlflow.note.content"]
    fence, body = re.search(r"^(`{3,})\n(.*)\n\1$", text, re.MULTILINE | re.DOTALL).groups()
    assert len(fence) == 4
    export, tune = body.splitlines()
    assert run(export) == 0
    assert shlex.split(tune)[:3] == ["lrsearch", "tune", "small 'one' ```"]
    space = api.load("s", storage=place)
    assert space.objective == "small 'one' ```"


def test_a_block_of_code_cannot_be_ended_by_its_text():
    assert code_block("a") == "```\na\n```"
    assert code_block("a\n```\n# b\n````") == "`````\na\n```\n# b\n````\n`````"


def test_output_has_no_control_characters(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "lrsearch-studies"
    folder.mkdir()
    (folder / "a\x1b]0;evil\x07.journal").write_text("{")
    main(["status"])
    main(["show", "a\x1b[31m", "--storage", "b\x1b[31m.journal"])
    main(["tune", "\x1b[31m"])
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert printable("a\tb\nc\x1b[31m\x07é") == "a\tb\nc?[31m?é"
    assert json.loads(printable(json.dumps("\x1b"))) == "\x1b"
