"""README tells the truth: its commands are understood, its code runs, its tables are complete."""

import re
import shlex
from pathlib import Path

import pytest

from lrsearch.cli import main
from lrsearch.curves import DECAYS
from lrsearch.export import FORMATS
from lrsearch.objectives.catalog import BUILT_IN
from lrsearch.result import Result
from lrsearch.space import Space

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def fences(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands():
    lines = "\n".join(fences("sh")[2:]).splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.strip()]


def test_it_is_short():
    assert len(README.splitlines()) < 250


def test_it_opens_with_the_two_commands_a_single_line_each_with_the_constraints():
    first, second = fences("sh")[:2]
    assert first.strip() == "pip install -c constraints.txt -e . && lrsearch tune"
    assert second.strip() == "pip install -c constraints.txt -e '.[test]' && pytest"


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("lrsearch tune")])
def test_a_search_it_shows_would_run(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(line)[1:], "--dry-run"]) == 0
    assert "first trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [line for line in commands() if re.match("lrsearch (spaces|objectives)", line)]
)
def test_a_list_it_shows_can_be_had(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


def test_its_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search, task = fences("python")
    names = {}
    exec(search.replace("trials=40, steps=150", "trials=4, steps=40"), names)
    assert isinstance(names["result"], Result)
    assert len(names["plan"]) == 20_000
    assert names["lr"] == names["plan"].lr[-1]
    exec(task, names)
    assert names["result"].counts["finished"] > 10
    assert names["result"].best.value < 0.05


def test_it_names_every_objective():
    rows = re.findall(r"^\| (`.*?) \|", README.partition("## Objectives")[2], re.M)
    named = [name for row in rows[:7] for name in re.findall("`(.*?)`", row)]
    assert sorted(named) == sorted(BUILT_IN)


def test_its_space_can_be_read():
    (text,) = fences("yaml")
    assert list(Space.from_yaml(text).free) == ["warmup", "floor"]


def test_its_tables_name_every_decay_and_every_export():
    for name in [*DECAYS, *FORMATS]:
        assert re.search(rf"^\|.*`{name}`", README, re.M), name


def test_its_picture_and_every_file_it_names_are_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file()
    for name in ("lrsearch/engine", "lrsearch/api.py", "tests/bench/results", ".ci/run"):
        assert name in README
        assert (ROOT / name).exists()
