"""Both trainers reject an unknown optimizer and have the same known ones."""

import pytest
import torch

from lrsearch.errors import RequestError
from lrsearch.objectives.builtin import make
from lrsearch.training.optimizer_rules import RULES, make_rule
from lrsearch.training.plain import _optimizer


@pytest.fixture
def task():
    task = make("two-moons").task
    object.__setattr__(task, "optimizer", "adagrad")  # bypasses the check of the constructor
    return task


def test_both_trainers_reject_an_unknown_optimizer(task):
    weight = torch.zeros(1, requires_grad=True)
    with pytest.raises(RequestError, match=r"no optimizer 'adagrad'.*adamw"):
        _optimizer(task, [weight])
    with pytest.raises(RequestError, match=r"no optimizer 'adagrad'.*adamw"):
        make_rule(task, {"weight": weight[None]})


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_has_its_counterpart_in_torch(name, task):
    object.__setattr__(task, "optimizer", name)
    kinds = {"sgd": "SGD", "nesterov": "SGD", "adam": "Adam", "adamw": "AdamW"}
    twin = _optimizer(task, [torch.zeros(1, requires_grad=True)])
    assert type(twin).__name__ == kinds[name]
