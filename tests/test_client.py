"""The client for training scripts: nothing outside a search, rates and reports in one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lrsearch
from lrsearch import Command, Run, Schedule, client
from lrsearch.errors import RequestError
from lrsearch.objectives.client_reports import NAME, ClientReports
from lrsearch.objectives.command import CommandObjective

PLAN = Schedule(peak=0.1, warmup=0.25).plan(steps=8)


@pytest.fixture
def in_search(tmp_path, monkeypatch):
    """Set the variables of a run, and return the file of its reports."""
    (tmp_path / "lr.csv").write_text(lrsearch.export.to_csv(PLAN))
    monkeypatch.setenv(client.PLAN, str(tmp_path / "lr.csv"))
    monkeypatch.setenv(client.REPORTS, str(tmp_path / NAME))
    return tmp_path / NAME


def test_it_does_nothing_outside_a_search(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (client.PLAN, client.REPORTS):
        monkeypatch.delenv(name, raising=False)
    own = {0: 0.5}.__getitem__
    assert client.rates(own, steps=3) is own
    client.report(0, 1.0)
    client.value(1.0)
    assert list(tmp_path.iterdir()) == []


def test_rates_are_those_of_the_plan_and_the_last_one_after_its_end(in_search):
    get_lr = client.rates(lambda step: 7.0, steps=8)
    assert [get_lr(step) for step in range(8)] == PLAN.lr.tolist()
    assert get_lr(8) == get_lr(100) == PLAN.lr[-1]
    with pytest.raises(ValueError, match="the step is -1; give 0 for the first one"):
        get_lr(-1)
    with pytest.raises(ValueError, match="trains 9 steps, but this run of the search has 8"):
        client.rates(lambda step: 7.0, steps=9)


def test_reports_arrive_in_order_and_only_once(in_search):
    with ClientReports(in_search) as reports:
        client.report(0, 2.5)
        assert list(reports.read()) == [{"step": 0, "loss": 2.5}]
        assert not reports.asked
        client.rates(lambda step: 7.0)
        client.value(float("inf"))
        assert list(reports.read()) == [{"value": float("inf")}]
        assert reports.asked
        assert list(reports.read()) == []


def test_only_the_first_of_several_ranks_reports(in_search, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    get_lr = client.rates(lambda step: 7.0)
    assert get_lr(0) == PLAN.lr[0]
    client.report(0, 2.5)
    client.value(2.5)
    assert not in_search.exists()


@pytest.mark.parametrize(
    "line",
    [
        b"[1]\n",
        b"{}\n",
        b'{"step": 1.5, "loss": 1.0}\n',
        b'{"value": "1"}\n',
        b'{"value": 1.0, "kind": "end"}\n',
        b"[" * 3000 + b"\n",
        b"x" * 5000,
    ],
)
def test_a_line_that_it_did_not_write_is_an_error(tmp_path, line):
    with ClientReports(tmp_path / NAME) as reports:
        (tmp_path / NAME).write_bytes(line)
        with pytest.raises(ValueError, match=r"a line that was not written by lrsearch\.client"):
            list(reports.read())


def test_it_loads_nothing_but_the_standard_library_and_works_as_a_copy(tmp_path, in_search):
    (tmp_path / "client.py").write_text(Path(client.__file__).read_text())
    code = (
        "import sys; before = set(sys.modules)\n"
        "import client\n"
        "client.value(client.rates(float)(0))\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    words = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = {name.lstrip("_") for name in eval(done.stdout)} - {"client"}
    assert loaded <= {name.lstrip("_") for name in sys.stdlib_module_names}
    lines = [json.loads(line) for line in in_search.read_text().splitlines()]
    assert lines == [{"rates": 8}, {"value": PLAN.lr[0]}]


def test_importing_it_loads_no_large_library():
    code = "import sys, lrsearch.client; print([n for n in sys.modules if n in LARGE])"
    large = "LARGE = ('numpy', 'torch', 'optuna', 'mlflow', 'click', 'yaml', 'lrsearch.errors')\n"
    done = subprocess.run([sys.executable, "-c", large + code], capture_output=True, timeout=60)
    assert done.stdout.strip() == b"[]"


ASKS = """
import lrsearch.client
get_lr = lrsearch.client.rates(lambda step: 1.0, steps=8)
x = 1.0
for step in range(8):
    x -= get_lr(step) * x
    lrsearch.client.report(step, x)
lrsearch.client.value(x)
"""


def answer(tmp_path, monkeypatch, script, **more):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(script)
    command = Command(words=(sys.executable, "train.py"), **more)
    words = {"trial": 0, "replicate": 0, "seed": 1, "home": str(tmp_path / "home")}
    return CommandObjective(command).answer(Run(plan=PLAN, **words))


def test_a_script_that_uses_it_needs_no_placeholder_and_no_pattern(tmp_path, monkeypatch):
    outcome = answer(tmp_path, monkeypatch, ASKS)
    expected = (1 - PLAN.lr).cumprod()
    assert outcome.value == pytest.approx(expected[-1], rel=1e-14)
    assert outcome.traces["loss"].values == pytest.approx(expected, rel=1e-14)


def test_a_loss_that_it_reports_ends_a_run_that_diverges(tmp_path, monkeypatch):
    script = ASKS.replace("step, x)", "step, float('nan'))\n    import time; time.sleep(60)")
    outcome = answer(tmp_path, monkeypatch, script)
    assert (outcome.state, outcome.reason) == ("diverged", "diverged at update 0 with loss nan")
    assert outcome.seconds < 30


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("lrsearch.client.value(x)", "# client.value(x)", "the command reported no value with"),
        ("lrsearch.client.rates(lambda step: 1.0, steps=8)", "float", "has not asked for its"),
        ("steps=8", "steps=9", "the command ended with exit code 1; its last line: ValueError"),
    ],
)
def test_a_script_that_does_not_use_it_as_it_should_has_failed(
    tmp_path, monkeypatch, old, new, reason
):
    script = ASKS.replace(old, new)
    outcome = answer(tmp_path, monkeypatch, script, value_from="client")
    assert outcome.state == "failed"
    assert reason in outcome.reason


def test_a_script_without_it_is_refused(tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="the command has no value"):
        answer(tmp_path, monkeypatch, ASKS.replace("client.value", "print"))
    with pytest.raises(RequestError, match="no placeholder of the command carries the schedule"):
        answer(tmp_path, monkeypatch, "print('loss 1')", value="loss {value}")
