"""README tells the truth: its commands are understood, its code runs, its tables are complete."""

import re
import shlex
import sys
from pathlib import Path

import pytest

import lrsearch
from lrsearch.claims.catalog import CLAIMS
from lrsearch.cli import main
from lrsearch.contract import LEVELS
from lrsearch.curves import DECAYS
from lrsearch.diagnostics.names import DIAGNOSTICS
from lrsearch.export import FORMATS
from lrsearch.finding import VERDICTS
from lrsearch.objectives.builtin import BUILT_IN
from lrsearch.result import Result
from lrsearch.space import Space

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


OWN = """
import lrsearch

@lrsearch.objective(peak=(1e-4, 1e-1))
def small_gpt(run):
    return 1.0
"""


@pytest.fixture(autouse=True)
def forget_the_users_module():
    """A module `train` that a test imports must not be found by the next one."""
    yield
    sys.modules.pop("train", None)


def fences(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands():
    lines = "\n".join(fences("sh")[2:]).replace("\\\n", "").splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.strip()]


def test_it_is_short():
    assert len(README.splitlines()) <= 350


def test_it_opens_with_the_two_commands_a_single_line_each_with_the_constraints():
    first, second = fences("sh")[:2]
    assert first.strip() == "pip install -c constraints.txt -e . && lrsearch tune"
    assert second.strip() == "pip install -c constraints.txt -e '.[test]' && pytest"


SEARCHES = [line for line in commands() if line.startswith("lrsearch tune")]
LISTS = [line for line in commands() if re.match("lrsearch (spaces|objectives)", line)]


def test_it_shows_searches_and_lists():
    assert SEARCHES
    assert LISTS


# What joins a cluster is tried on one, in `tests/machines/test_ray.py`.
@pytest.mark.parametrize("line", [line for line in SEARCHES if "--engine ray" not in line])
def test_a_search_it_shows_would_run(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(OWN)
    (tmp_path / "today.json").write_text('{"peak": 0.01}')
    if "--from" in line:
        monkeypatch.setattr(sys, "path", list(sys.path))
        lrsearch.tune(
            "train.py:small_gpt",
            space="cosine",
            trials=1,
            steps=20,
            tracking_uri="none",
            compare=False,
        )
    words = shlex.split(line)[1:]
    assert main([words[0], "--dry-run", *words[1:]]) == 0
    assert "default" in capsys.readouterr().out


@pytest.mark.parametrize("line", LISTS)
def test_a_list_it_shows_can_be_had(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out


STRANGERS_CODE = """
import torch

def build(seed):
    torch.manual_seed(seed)
    model, order = torch.nn.Linear(3, 1), torch.Generator().manual_seed(seed)
    def batches(size):
        x = torch.randn(64 * size, 3, generator=order)
        return x, x.sum(1, keepdim=True)
    return model, batches, lambda model: update(model, batches(256), 0.0)

def update(model, batch, lr):
    loss = torch.nn.functional.mse_loss(model(batch[0]), batch[1])
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= lr * parameter.grad
            parameter.grad = None
    return loss.item()

optimizer = torch.optim.SGD(torch.nn.Linear(3, 1).parameters(), lr=1.0)
"""


@pytest.mark.slow
def test_its_python_runs(tmp_path, monkeypatch):
    """As printed, with `build`, `update` and `optimizer` defined, but for how much it runs."""
    monkeypatch.chdir(tmp_path)
    code = fences("python")[0].replace('__name__ == "__main__"', "True")
    names = {"__name__": "readme"}
    exec(STRANGERS_CODE, names)
    code = code.replace("steps=2_000, trials=100", "steps=20, trials=4")
    exec(code.replace("top=5, seeds=10", "top=1, seeds=5"), names)
    assert isinstance(names["result"], Result)
    schedule = names["best"].schedule
    assert names["optimizer"].param_groups[0]["lr"] == schedule.plan(20_000).lr[0]


SCRIPT = """
import argparse, csv
parser = argparse.ArgumentParser()
parser.add_argument("config")
for name in ("--lr_file", "--seed", "--out_dir"):
    parser.add_argument(name)
given = parser.parse_args()
x = 1.0 + int(given.seed) % 7 / 100
for row in csv.DictReader(open(given.lr_file)):
    x -= float(row["lr"]) * x
print("val loss", x * x)
"""


@pytest.mark.slow
def test_its_search_with_a_script_runs(tmp_path, monkeypatch):
    """As printed, but for fewer runs; then the export below it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    search, export = (line for line in commands() if "train-default" in line or " -- " in line)
    quick = ["--tracking-uri", "none", "--runs", "3"]
    words = shlex.split(search.replace("--runs 15", ""))[2:]
    assert main(["tune", *quick, *words]) == 0
    assert lrsearch.load("train-default").counts["finished"] == 3
    assert main(shlex.split(export)[1:]) == 0
    assert (tmp_path / "best.csv").read_text().count("\n") == 2001


def test_it_names_every_objective():
    rows = re.findall(r"^\| (`.*?) \|", README.partition("## Objectives")[2], re.M)
    named = [name for row in rows[:8] for name in re.findall("`(.*?)`", row)]
    assert sorted(named) == sorted(BUILT_IN)


def test_its_space_can_be_read():
    (text,) = fences("yaml")
    assert list(Space.from_yaml(text).free) == ["warmup", "floor"]


def test_its_tables_name_every_decay_and_every_export():
    for name in [*DECAYS, *FORMATS]:
        assert re.search(rf"^\|.*`{name}`", README, re.M), name


def test_its_picture_and_every_file_it_names_are_there():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).is_file()
    for name in ("lrsearch/study", "lrsearch/api.py", "tests/bench/results", ".ci/run"):
        assert name in README
        assert (ROOT / name).exists()


def test_it_names_every_diagnostic_and_level():
    section = README.partition("## Diagnostics")[2].partition("## Objectives")[0]
    table = " ".join(line for line in section.splitlines() if line.startswith("| the "))
    assert re.findall("`(.*?)`", table) == list(DIAGNOSTICS)
    assert all(f"`{level}`" in section for level in LEVELS)


def test_it_counts_the_claims():
    assert len(CLAIMS) == 16
    assert "sixteen statements" in README
    assert all(f"*{verdict}*" in README for verdict in VERDICTS)
