"""Values of a command from a JSON file."""

import json
import sys

import pytest

import lrsearch
from lrsearch import Command, Run, Schedule
from lrsearch.errors import RequestError
from lrsearch.objectives.command import CommandObjective
from lrsearch.objectives.value_file import ValueFile

FOUND = {
    "eval": {"loss": 2.5, "name": "x", "on": True},
    "eval.accuracy": 0.5,
    "a.b": {"c.d": 3},
    "log": [{"loss": 4.0}, {"loss": 1.0}],
    "large": 10**400,
    "nan": float("nan"),
}


def make_run(tmp_path, trial=0):
    plan = Schedule(peak=0.1).plan(steps=4)
    home = str(tmp_path / f"home{trial}")
    return Run(trial=trial, replicate=0, seed=1, plan=plan, home=home, schedule=Schedule(peak=0.1))


def answer(tmp_path, code, value_from):
    words = (sys.executable, "-c", code, "{peak}", "{folder}")
    return CommandObjective(Command(words=words, value_from=value_from)).answer(make_run(tmp_path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eval.loss", 2.5),
        ("eval.accuracy", 0.5),
        ("a.b.c.d", 3.0),
        ("log.0.loss", 4.0),
        ("log.-1.loss", 1.0),
        ("large", float("inf")),
    ],
)
def test_a_key_leads_to_its_number(tmp_path, key, value):
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    assert ValueFile(f"{tmp_path}/found.json:{key}").read(make_run(tmp_path), None) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(FOUND), "found.json has no key eval.los"),
        ('{"eval": {"los": "x"}}', "the value at key eval.los of .*found.json is not a number"),
        ('{"eval": {"los": true}}', "the value at key eval.los of .*found.json is not a number"),
        ('{"eval": {"los": null}}', "the value at key eval.los of .*found.json is not a number"),
        ("[1]", "found.json has no key eval.los"),
        ("{", "found.json is not a JSON file: "),
        ("[" * 100_000, "found.json is not a JSON file: "),
    ],
)
def test_a_file_without_the_number_is_an_error(tmp_path, text, reason):
    (tmp_path / "found.json").write_text(text)
    with pytest.raises(ValueError, match=reason):
        ValueFile(f"{tmp_path}/found.json:eval.los").read(make_run(tmp_path), None)


@pytest.mark.parametrize("text", ["results.json", ":loss", "a.json:", "client:"])
def test_a_wrong_text_is_refused(text):
    with pytest.raises(RequestError, match="give FILE:KEY"):
        Command(words=("true", "{peak}"), value_from=text)


def test_a_value_has_one_source(tmp_path):
    words = ("true", "{peak}")
    with pytest.raises(RequestError, match="exclude each other"):
        Command(words=words, value_from="a.json:loss", value="{value}")
    with pytest.raises(RequestError, match="leave out `value_is=`"):
        Command(words=words, value_from="a.json:loss", value_is="min")
    with pytest.raises(RequestError, match="did you mean 'folder'"):
        Command(words=words, value_from="{foldr}/a.json:loss")


WRITES = "import json, sys; json.dump({'loss': 1.5}, open(f'{sys.argv[2]}/a.json', 'w'))"


def test_the_file_of_the_run_has_its_value(tmp_path):
    outcome = answer(tmp_path, WRITES, "{folder}/a.json:loss")
    assert (outcome.state, outcome.value) == ("finished", 1.5)
    stale = answer(tmp_path, "pass", "{folder}/a.json:loss")
    assert stale.state == "failed"
    assert "is of an earlier run: the command did not write it" in stale.reason
    missing = answer(tmp_path, "pass", "{folder}/b.json:loss")
    assert f"the command wrote no file {tmp_path}/home0/out/b.json" in missing.reason


def test_workers_need_a_file_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = Command(
        words=(sys.executable, "-c", WRITES, "{peak}", "."), value_from="a.json:loss"
    )
    asked = {"steps": 4, "trials": 2, "tracking_uri": "none", "space": "linear"}
    shape = {"peak": {"low": 0.1, "high": 1.0}, "warmup": 0.0, "floor": 0.0}
    assert lrsearch.tune(command, settings=shape, **asked, compare=False).best.value == 1.5
    with pytest.raises(RequestError, match=r"would write the same file a\.json:loss"):
        lrsearch.tune(command, settings=shape, study="other", workers=2, **asked, compare=False)


def test_two_runs_do_not_write_one_file_at_the_same_time(tmp_path):
    shared = ValueFile(f"{tmp_path}/a.json:loss")
    with shared.alone(make_run(tmp_path, 1)):
        outcome = answer(tmp_path, "pass", f"{tmp_path}/a.json:loss")
    assert outcome.state == "failed"
    assert "another run writes" in outcome.reason
    with shared.alone(make_run(tmp_path, 1)):  # it is free again
        pass
