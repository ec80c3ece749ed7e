"""A member of a population is the same run trained alone by torch, whoever its neighbours are."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from lrsearch import Schedule
from lrsearch.contract import Run
from lrsearch.objectives.catalog import make
from lrsearch.objectives.digits import Digits
from lrsearch.objectives.population import Classification, sample_order, train
from tests.objectives.test_proxy import Given

STEPS, BATCH = 120, 16


def exact_task(weight_decay=0.0):
    """The digits in float64."""
    digits = Digits(hidden=16, held_out=0.3, weight_decay=weight_decay)
    task = digits.task
    inputs, labels = task.held_out
    return Classification(
        model=lambda generator: task.model(generator).double(),
        inputs=task.inputs.double(),
        labels=task.labels,
        held_out=(inputs.double(), labels),
        weight_decay=weight_decay,
    )


def alone(task, plan, seed):
    """The obvious loop: one model, `torch.optim.SGD`, one batch an update."""
    model = task.model(torch.Generator().manual_seed(seed))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=task.weight_decay)
    order = sample_order(seed, len(task.labels), plan.samples)
    losses, begin = [], 0
    for lr, batch, momentum in zip(plan.lr, plan.batch, plan.momentum, strict=True):
        optimizer.param_groups[0].update(lr=float(lr), momentum=float(momentum))
        index = torch.from_numpy(order[begin : begin + batch])
        begin += batch
        loss = nn.functional.cross_entropy(model(task.inputs[index]), task.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        outputs = model(task.held_out[0])
        value = nn.functional.cross_entropy(outputs, task.held_out[1]).item()
        accuracy = (outputs.argmax(1) == task.held_out[1]).double().mean().item()
    return losses, value, accuracy


def run_of(trial, schedule, seed=11, momentum=0.9):
    plan = schedule.plan(STEPS, BATCH, momentum=momentum)
    return Run(trial=trial, replicate=0, seed=seed, plan=plan)


GROUP = [
    Schedule(peak=0.1, warmup=0.1),
    Schedule(peak=0.03, decay="step", momentum=0.5),
    Schedule(peak=0.05, batch_growth=4, coupling=1),
    Schedule(peak=300.0, decay="constant"),  # diverges
    Schedule(peak=0.1, momentum_rule="opposed", momentum_low=0.5),
    Schedule(peak=0.1, momentum=0.0),
]


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_every_member_is_the_run_trained_alone(weight_decay):
    task = exact_task(weight_decay)
    runs = [run_of(i, schedule, seed=i % 2) for i, schedule in enumerate(GROUP)]
    outcomes = {o.trial: o for o in train(task, Given(*runs), slots=4)}
    assert outcomes[3].state == "diverged"
    for run in runs:
        if run.trial == 3:
            continue
        losses, value, accuracy = alone(task, run.plan, run.seed)
        outcome = outcomes[run.trial]
        assert outcome.updates == len(run.plan)
        np.testing.assert_allclose(outcome.traces["loss"].values, losses, rtol=1e-9, atol=1e-9)
        assert outcome.value == pytest.approx(value, rel=1e-9)
        assert outcome.figures["accuracy"] == pytest.approx(accuracy, abs=1e-12)


def test_a_member_is_bitwise_the_same_in_any_slot_with_any_neighbours():
    task, schedule = make("digits").task, GROUP[0]
    (single,) = train(task, Given(run_of(0, schedule)), slots=16)
    others = [run_of(i + 1, GROUP[i % 2 + 3]) for i in range(9)]
    crowd = {o.trial: o for o in train(task, Given(*others, run_of(0, schedule)), slots=16)}
    assert crowd[0].value == single.value
    assert crowd[0].traces == single.traces


def test_runs_that_all_diverge_end_early():
    task = make("digits").task
    schedule = Schedule(peak=1e6, decay="constant")
    (outcome,) = train(task, Given(run_of(0, schedule)), slots=2)
    assert outcome.state == "diverged"
    assert outcome.updates < STEPS
    assert "diverged at update" in outcome.reason


def test_every_epoch_sees_every_sample_once():
    order = sample_order(3, 50, 170)
    assert len(order) == 170
    for epoch in range(3):
        assert sorted(order[50 * epoch : 50 * (epoch + 1)]) == list(range(50))
    assert np.array_equal(order[:60], sample_order(3, 50, 60))
    assert not np.array_equal(order[:50], order[50:100])


def test_the_seed_fixes_initialisation_and_data():
    task = make("digits").task
    values = [
        next(iter(train(task, Given(run_of(0, GROUP[0], seed=seed)), slots=2))).value
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


def test_the_digits_are_scikit_learns_split_stratified():
    task = make("digits").task
    images, labels = load_digits(return_X_y=True)
    together = torch.cat([task.inputs, task.held_out[0]])
    assert together.shape == (1797, 64)
    assert together.min() == 0
    assert together.max() == 1
    assert torch.sum(together).item() == pytest.approx(images.sum() / 16, rel=1e-6)
    shares = torch.bincount(task.held_out[1]) / len(task.held_out[1])
    whole = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(shares.numpy(), whole, atol=1 / len(task.held_out[1]))


def test_an_untrained_network_is_worth_about_ln_10():
    digits = make("digits")
    (outcome,) = train(digits.task, Given(run_of(0, Schedule(peak=1e-12))), slots=1)
    assert outcome.value == pytest.approx(math.log(10), rel=0.15)
    assert digits.setup.untrained == math.log(10)


def test_a_usual_schedule_learns_the_digits():
    digits = make("digits")
    setup = digits.setup
    plan = Schedule(peak=setup.habit_peak).plan(setup.steps, setup.batch, momentum=setup.momentum)
    (outcome,) = digits.evaluate(Given(Run(trial=0, replicate=0, seed=0, plan=plan)))
    assert outcome.figures["accuracy"] > 0.96
    assert outcome.value < 0.15


@pytest.mark.parametrize(
    ("option", "value"), [("hidden", 8), ("held_out", 0.5), ("weight_decay", 0.1)]
)
def test_every_option_of_the_digits_changes_the_value(option, value):
    values = []
    for options in ({}, {option: value}):
        digits = make("digits", options)
        (outcome,) = digits.evaluate(Given(run_of(0, GROUP[0])))
        values.append(outcome.value)
    assert values[0] != values[1]


def test_training_leaves_torchs_threads_as_they_were():
    before = torch.get_num_threads()
    list(make("digits").evaluate(Given(run_of(0, GROUP[0]))))
    assert torch.get_num_threads() == before
