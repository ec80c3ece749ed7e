"""A run gives the same results in a population, with any other runs, as alone in plain torch."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lrsearch import Schedule
from lrsearch.objectives.builtin import make
from lrsearch.run import Run
from lrsearch.training.data_order import sample_order
from tests.doubles import Given
from tests.torch_doubles import BATCH, GROUP, STEPS, alone, exact_task, run_of, train


@pytest.mark.parametrize(
    ("weight_decay", "clip"),
    [
        (0.0, None),
        (0.01, 0.5),
        pytest.param(0.0, 0.5, marks=pytest.mark.slow),
        pytest.param(0.01, None, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_every_member_gives_the_results_of_the_run_trained_alone(optimizer, weight_decay, clip):
    """Six runs in four slots: two wait, and one diverges."""
    task = exact_task(optimizer=optimizer, weight_decay=weight_decay, clip=clip)
    scale = 0.1 if optimizer.startswith("adam") else 1.0
    group = [schedule.replace(peak=schedule.peak * scale) for schedule in GROUP]
    runs = [run_of(i, schedule, seed=i % 2) for i, schedule in enumerate(group)]
    outcomes = {o.trial: o for o in train(task, Given(*runs), slots=4)}
    states = {trial: outcome.state for trial, outcome in outcomes.items()}
    assert states == {i: "diverged" if i == 3 else "finished" for i in range(len(group))}
    for run in runs:
        outcome = outcomes[run.trial]
        losses, value, accuracy = alone(task, run.plan, run.seed)
        seen = outcome.traces["loss"].values
        if run.trial == 3:
            assert 0 < len(seen) == outcome.updates < len(run.plan)
            np.testing.assert_allclose(seen, losses[: len(seen)], rtol=1e-6)
            continue
        assert outcome.updates == len(run.plan)
        np.testing.assert_allclose(seen, losses, rtol=1e-9, atol=1e-9)
        assert outcome.value == pytest.approx(value, rel=1e-9)
        assert outcome.figures["accuracy"] == pytest.approx(accuracy, abs=1e-12)


def test_a_momentum_of_0_leaves_the_buffer_unchanged_as_in_torch():
    task = exact_task()
    schedule = Schedule(peak=0.1, warmup=0.5, momentum_rule="opposed", momentum_low=0.0)
    run = run_of(0, schedule)
    assert (run.plan.momentum == 0).sum() == 2
    (outcome,) = train(task, Given(run), slots=2)
    losses, value, _ = alone(task, run.plan, run.seed)
    np.testing.assert_allclose(outcome.traces["loss"].values, losses, rtol=1e-9)
    assert outcome.value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_a_member_is_bitwise_equal_in_any_slot_with_any_other_runs(slots):
    task, schedule = make("digits").task, GROUP[0]
    (single,) = train(task, Given(run_of(0, schedule)), slots=16)
    others = [run_of(i + 1, GROUP[(0, 1, 3, 4)[i % 4]], seed=i) for i in range(9)]
    crowd = {o.trial: o for o in train(task, Given(*others, run_of(0, schedule)), slots=slots)}
    assert crowd[0].value == single.value
    assert crowd[0].traces == single.traces


@pytest.mark.parametrize("name", ["digits", "two-moons"])
def test_a_run_with_a_growing_batch_is_bitwise_equal_with_any_other_runs(name):
    """The padding of a batch depends on its own plan, not on the batches of other runs."""
    task, growing = make(name).task, Schedule(peak=0.05, batch_growth=3, coupling=1)
    own = Schedule(peak=0.02)

    def ran(*schedules):
        runs = [
            Run(trial=i, replicate=0, seed=3, plan=s.plan(STEPS, 12))
            for i, s in enumerate(schedules)
        ]
        return {o.trial: o for o in train(task, Given(*runs), slots=4)}

    single, beside, twins = ran(growing), ran(growing, own, own), ran(growing, growing)
    assert len({*growing.plan(STEPS, 12).batch}) > 3
    for crowd in (beside, twins):
        assert crowd[0].traces == single[0].traces
        assert crowd[0].value == single[0].value
    assert beside[1].traces == ran(own)[0].traces


def test_a_free_slot_is_refilled_immediately():
    """One long and four short runs in two slots: the short ones share the second slot."""
    task = exact_task()

    class Counted(Given):
        given = 0

        def take(self, room):
            taken = super().take(room)
            self.given += len(taken)
            return taken

    short = [Run(trial=i, replicate=0, seed=0, plan=GROUP[0].plan(30, 4)) for i in range(1, 5)]
    long = Run(trial=0, replicate=0, seed=0, plan=GROUP[0].plan(200, 4))
    runs = Counted(long, *short)
    ended = []
    for outcome in train(task, runs, slots=2):
        assert runs.given <= len(ended) + 2
        ended.append(outcome.trial)
    assert ended == [1, 2, 3, 4, 0]


def test_runs_that_begin_and_end_in_groups_keep_their_own_results():
    """Runs end together or alone, in all rows of seven slots; the others move to free rows."""
    task, generator = exact_task(optimizer="adam"), np.random.default_rng(0)
    lengths = generator.choice([3, 5, 8, 8, 8, 13], size=40)
    plans = [
        Schedule(peak=float(peak)).plan(int(updates), BATCH)
        for peak, updates in zip(generator.uniform(0.001, 0.01, 40), lengths, strict=True)
    ]
    words = [{"trial": i, "replicate": 0, "seed": i % 3, "plan": p} for i, p in enumerate(plans)]
    crowd = train(task, Given(*[Run(**word) for word in words]), slots=7)
    singles = {o.trial: o for o in train(task, Given(*[Run(**word) for word in words]), slots=1)}
    seen = {o.trial: o for o in crowd}
    assert seen.keys() == singles.keys()
    for trial, outcome in seen.items():
        assert outcome.updates == lengths[trial]
        assert outcome.traces == singles[trial].traces
        assert outcome.value == singles[trial].value


def test_a_run_that_diverges_ends_early():
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


def test_the_digits_are_a_stratified_split_of_scikit_learns_data():
    task = make("digits").task
    images, labels = load_digits(return_X_y=True)
    together = torch.cat([task.train[0], task.validation[0]])
    assert together.shape == (1797, 64)
    assert together.min() == 0
    assert together.max() == 1
    assert torch.sum(together).item() == pytest.approx(images.sum() / 16, rel=1e-6)
    held = task.validation[1]
    shares = torch.bincount(held) / len(held)
    whole = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(shares.numpy(), whole, atol=1 / len(held))


def test_an_untrained_network_has_a_value_near_ln_10():
    digits = make("digits")
    (outcome,) = train(digits.task, Given(run_of(0, Schedule(peak=1e-12))), slots=1)
    assert outcome.value == pytest.approx(math.log(10), rel=0.15)
    assert digits.setup.untrained == math.log(10)


def test_a_cosine_schedule_learns_the_digits():
    digits = make("digits")
    setup = digits.setup
    plan = (
        Schedule(peak=setup.usual_peak)
        .with_momentum(setup.momentum)
        .plan(setup.steps, setup.batch)
    )
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


def test_training_restores_the_number_of_torch_threads():
    before = torch.get_num_threads()
    list(make("digits").evaluate(Given(run_of(0, GROUP[0]))))
    assert torch.get_num_threads() == before
