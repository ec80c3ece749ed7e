"""Another objective under the name of a study is refused, with the difference."""

import dataclasses
import enum
import functools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import lrsearch
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.origin import DEPTH, describe, differences, origin_of

WORDS = {
    "space": "cosine",
    "settings": {"peak": {"low": 1e-3, "high": 1.0, "log": True}},
    "steps": 5,
    "tracking_uri": "none",
    "sampler": "random",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(run, target=1.0):
    x = 0.0
    for t, (lr, _) in enumerate(run.plan):
        run.report(t, (x - target) ** 2)
        x -= lr * (x - target)
    return (x - target) ** 2 + target


class Fit:
    def __init__(self, target):
        self.target = target
        self._calls = 0

    def __call__(self, run):
        self._calls += 1
        return train(run, self.target)

    def method(self, run):
        return train(run, self.target)


def closure(target):
    @lrsearch.objective(peak=(1e-3, 1.0), steps=20)
    def fit(run):
        return train(run, target)

    return fit


def wrapped(target):
    def inner(run):
        return train(run, target)

    def fit(run):
        return inner(run)

    return fit


def default(target):
    def fit(run, target=target):
        return train(run, target)

    return fit


MAKERS = {
    "partial": lambda target: functools.partial(train, target=target),
    "partial of an object": lambda target: functools.partial(Fit(target)),
    "object": Fit,
    "method": lambda target: Fit(target).method,
    "closure": closure,
    "closure of a closure": wrapped,
    "default": default,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_objective_with_another_value_is_not_answered_with_old_results(make):
    result = lrsearch.tune(make(1.0), study="s", trials=2, **WORDS, compare=False)
    before = [trial.value for trial in result.trials]
    with pytest.raises(
        RequestError, match=r"\((inner\.)?target was 1.0, is now 100.0\); choose another"
    ):
        lrsearch.tune(make(100.0), study="s", trials=3, **WORDS, compare=False)
    again = lrsearch.tune(make(1.0), study="s", trials=3, **WORDS, compare=False)
    assert [trial.value for trial in again.trials][:2] == before
    assert len(again.trials) == 3


def test_a_file_of_the_same_name_in_another_folder_is_another_objective(here, capsys):
    for folder, value in (("a", 1.0), ("b", 100.0)):
        (here / folder).mkdir()
        (here / folder / "train.py").write_text(f"def fit(run):\n    return {value}\n")
    words = ["--space", "cosine", "--set", "peak=0.1..1", "--tracking-uri", "none", "--no-compare"]
    assert main(["tune", "a/train.py:fit", *words, "--trials", "2"]) == 0
    capsys.readouterr()
    assert main(["tune", "b/train.py:fit", *words, "--trials", "3"]) == 2
    assert "(file was a/train.py, is now b/train.py)" in capsys.readouterr().err
    assert main(["tune", "a/train.py:fit", *words, "--trials", "3"]) == 0


X = torch.linspace(-1, 1, 64)[:, None]


def task(**changes):
    words = {
        "name": "line",
        "model": lambda generator: torch.nn.Linear(1, 1),
        "loss": lambda model, batch: (model(batch[0]) - batch[1]).square()[:, 0],
        "train": (X, 2 * X),
        "validation": (X, 2 * X),
        "peak": (1e-3, 1.0),
        "steps": 5,
        "batch": 8,
    }
    return lrsearch.TorchTask(**{**words, **changes})


def changed(place):
    other = (2 * X).clone()
    other[place] += 1
    return X, other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": changed(17)}, r"training data was \w+, is now \w+"),
        ({"validation": changed(63)}, r"validation data was \w+, is now \w+"),
        ({"optimizer": "nesterov"}, "optimizer was 'sgd', is now 'nesterov'"),
        ({"clip": 1.0}, "clip was None, is now 1.0"),
        ({"weight_decay": 0.1}, "weight_decay was 0.0, is now 0.1"),
    ],
)
def test_a_task_with_other_data_or_another_optimizer_is_not_answered_with_old_results(
    changes, said
):
    words = {"study": "s", "space": "cosine", "tracking_uri": "none", "sampler": "random"}
    lrsearch.tune(task(), trials=2, **words, compare=False)
    with pytest.raises(RequestError, match=rf"\({said}\); choose another"):
        lrsearch.tune(task(**changes), trials=3, **words, compare=False)
    assert len(lrsearch.tune(task(), trials=3, **words, compare=False).trials) == 3


def test_values_that_cannot_be_compared_are_named_when_a_study_continues(caplog):
    model, seen = object(), []

    def fit(run):
        seen.append(model)
        return 1.0

    with caplog.at_level(logging.WARNING):
        lrsearch.tune(fit, study="s", trials=2, **WORDS, compare=False)
        assert "cannot be compared" not in caplog.text
        lrsearch.tune(fit, study="s", trials=4, **WORDS, compare=False)
    said = [r.getMessage() for r in caplog.records if "cannot be compared" in r.getMessage()]
    assert len(said) == 1
    assert "with those of the earlier search: model, seen; if they have changed" in said[0]
    assert len(seen) == 4


def test_a_study_without_stored_code_continues():
    assert differences({}, {"file": "a.py"}) == []
    assert differences({"file": "a.py"}, {"file": "a.py", "x": "1"}) == [
        "x was not there, is now 1"
    ]
    assert differences({"x": None, "y": "1"}, {"x": "2", "y": None}) == []


class Color(enum.Enum):
    RED = 1


class Sizes(dict):
    pass


EQUAL = [
    lambda: 1.5,
    lambda: "text",
    lambda: (1, [2, {"a": None}], {3, 1, 2}),
    lambda: Path("a/b"),
    lambda: Color.RED,
    lambda: np.arange(6.0).reshape(2, 3),
    lambda: torch.arange(6.0),
    lambda: Sizes(a=1),
    lambda: "long" * 100,
]


@pytest.mark.parametrize("make", EQUAL)
def test_equal_values_have_equal_texts_of_limited_length(make):
    assert describe(make()) == describe(make())
    assert len(describe(make())) < 100


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, 1.0),
        (True, 1),
        ("1", 1),
        ((1, 2), (2, 1)),
        ({"a": 1}, {"a": 2}),
        ("x" * 100 + "a", "x" * 100 + "b"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
        (np.zeros(3), np.zeros((3, 1))),
    ],
)
def test_different_values_have_different_texts(one, two):
    assert describe(one) != describe(two)


@pytest.mark.parametrize("value", [object(), [object()], {"a": object()}, torch.nn.Linear(1, 1)])
def test_other_objects_have_no_text(value):
    assert describe(value) is None


def test_functions_that_refer_to_each_other_are_followed_to_a_limit():
    def make(depth):
        if not depth:
            return lambda run: 1.0
        below, level = make(depth - 1), depth
        return lambda run: below(run) + level

    found = origin_of(make(DEPTH + 5))
    levels = {name: value for name, value in found.items() if name.endswith("level")}
    assert levels == {"below." * i + "level": str(DEPTH + 5 - i) for i in range(DEPTH + 1)}

    def one(run):
        return two(run)

    def two(run):
        return one(run)

    assert origin_of(one)["two"].endswith("<locals>.two")


def test_a_copy_of_a_frozen_setup_keeps_the_origin():
    fit = closure(3.0)
    known = dataclasses.replace(fit.setup, origin=origin_of(fit.function))
    assert known.origin["target"] == "3.0"
