"""A population is used if a task allows it, a plain loop otherwise; both give the same results."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch import nn

from lrsearch import Schedule
from lrsearch.run import Run
from lrsearch.tasks.digits import cross_entropy, digits
from lrsearch.training.batchable import check_batchable
from lrsearch.training.dropout import Key, KeyedDropout, mix
from lrsearch.training.plain import train_alone
from lrsearch.training.population import Population
from lrsearch.training.trainer import Trainer
from tests.doubles import Given
from tests.torch_doubles import CPU
from tests.training.zoo import Sign


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(8, 24)
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        q, k, v = self.mix(x.unflatten(-1, (8, 8))).chunk(3, dim=-1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.flatten(-2))


class Looks(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y if y.sum() > 0 else 2 * y


class Straight(nn.Linear):
    def forward(self, x):
        return super().forward(Sign.apply(x - 0.5))


class Drops(nn.Linear):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


class Counts(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += x.mean()
        return super().forward(x) * self.seen


def stack(*middle):
    return lambda: nn.Sequential(nn.Linear(64, 16), *[m() for m in middle], nn.Linear(16, 10))


BATCHED = {
    "mlp": stack(nn.ReLU),
    "dropout": stack(nn.ReLU, lambda: nn.Dropout(0.3)),
    "layer norm": stack(lambda: nn.LayerNorm(16), nn.GELU),
    "batch norm": stack(lambda: nn.BatchNorm1d(16, track_running_stats=False)),
    "attention": Attention,
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(-1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(-3),
        nn.Linear(36, 10),
    ),
}
ALONE = {
    "running statistics": (
        stack(lambda: nn.BatchNorm1d(16)),
        "changes its tensor 1.running_mean in place",
    ),
    "control flow": (lambda: nn.Sequential(nn.Linear(64, 16), Looks(16, 10)), "data-dependent"),
    "custom gradient": (lambda: Straight(64, 10), "vmap"),
    "drawn dropout": (lambda: Drops(64, 10), "random"),
    "a counter": (lambda: Counts(64, 10), "changes its tensor seen in place"),
}


def make_task(build, **changes):
    task = digits(hidden=8, held_out=0.3, weight_decay=0.0)

    def model(generator):
        with torch.random.fork_rng([]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            return build().double()

    data = [
        tuple(t.double() if t.is_floating_point() else t for t in part)
        for part in (task.train, task.validation)
    ]
    return dataclasses.replace(task, model=model, train=data[0], validation=data[1], **changes)


def runs_of(*schedules, steps=25):
    plans = [s.with_momentum(0.9).plan(steps, 12) for s in schedules]
    return Given(*[Run(trial=i, replicate=0, seed=i % 2, plan=p) for i, p in enumerate(plans)])


SCHEDULES = [
    Schedule(peak=0.05),
    Schedule(peak=0.02, batch_growth=3, coupling=1),
    Schedule(peak=0.03, warmup=0.2),
    Schedule(peak=0.04, batch_growth=2),
]


@pytest.mark.parametrize("name", BATCHED)
def test_a_population_and_the_plain_loop_give_equal_outcomes(name):
    task = make_task(BATCHED[name])
    found = check_batchable(task)
    assert found.reason == ""
    assert found.paddable == (name != "batch norm")
    together = Population(task, 3, CPU, paddable=found.paddable).train(runs_of(*SCHEDULES))
    members = {o.trial: o for o in together}
    for outcome in train_alone(task, runs_of(*SCHEDULES), CPU):
        member = members[outcome.trial]
        assert member.state == outcome.state == "finished"
        losses = (member.traces["loss"].values, outcome.traces["loss"].values)
        np.testing.assert_allclose(*losses, rtol=1e-9)
        assert member.value == pytest.approx(outcome.value, rel=1e-9)
        assert member.figures["accuracy"] == pytest.approx(outcome.figures["accuracy"])


@pytest.mark.parametrize("name", ALONE)
def test_a_task_that_cannot_be_batched_is_trained_alone_with_a_one_line_warning(name, caplog):
    build, reason = ALONE[name]
    task = make_task(build)
    with caplog.at_level(logging.WARNING):
        trainer = Trainer(task)
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert message.startswith("task digits is trained one run at a time: ")
    assert reason in message
    assert "\n" not in message
    assert trainer.setup.slots == 1
    outcomes = list(trainer.evaluate(runs_of(*SCHEDULES[:2])))
    assert [o.state for o in outcomes] == ["finished", "finished"]
    again = list(trainer.evaluate(runs_of(*SCHEDULES[:2])))
    assert [o.value for o in again] == [o.value for o in outcomes]


def test_a_task_with_a_scalar_loss_is_batched_without_padding():
    task = make_task(BATCHED["mlp"])
    mean = dataclasses.replace(task, loss=lambda model, b: cross_entropy(model, b).mean())
    found = check_batchable(mean)
    assert (found.reason, found.paddable) == ("", False)
    values = [
        [o.value for o in sorted(p.train(runs_of(*SCHEDULES)), key=lambda o: o.trial)]
        for p in (Population(mean, 4, CPU, paddable=False), Population(task, 4, CPU))
    ]
    np.testing.assert_allclose(*values, rtol=1e-9)


def test_a_dataset_and_its_tensors_give_equal_values():
    task = make_task(BATCHED["mlp"])
    dataset = torch.utils.data.TensorDataset(*task.train)
    listed = dataclasses.replace(task, train=dataset)
    values = [
        [
            o.value
            for o in sorted(
                Population(t, 3, CPU).train(runs_of(*SCHEDULES)), key=lambda o: o.trial
            )
        ]
        for t in (task, listed)
    ]
    assert values[0] == values[1]


def test_a_task_with_its_own_evaluate_gives_equal_values():
    task = make_task(BATCHED["mlp"])

    def evaluate(model):
        return cross_entropy(model, task.validation).mean().item()

    own = dataclasses.replace(task, validation=None, evaluate=evaluate)
    for train in (
        lambda t: Population(t, 2, CPU).train(runs_of(SCHEDULES[0])),
        lambda t: train_alone(t, runs_of(SCHEDULES[0]), CPU),
    ):
        (a,), (b,) = train(task), train(own)
        assert a.value == pytest.approx(b.value, rel=1e-9)


def test_the_plain_loop_stops_a_diverged_run():
    task = make_task(BATCHED["mlp"])
    outcomes = list(train_alone(task, runs_of(Schedule(peak=1e9), SCHEDULES[0]), CPU))
    assert [o.state for o in outcomes] == ["diverged", "finished"]


def test_mixed_precision_trains_in_a_population_and_in_the_plain_loop():
    task = make_task(BATCHED["mlp"])
    task = dataclasses.replace(
        digits(hidden=16, held_out=0.3, weight_decay=0.0), precision="bfloat16"
    )
    (a,) = Population(task, 2, CPU).train(runs_of(SCHEDULES[0]))
    (b,) = train_alone(task, runs_of(SCHEDULES[0]), CPU)
    plain = dataclasses.replace(task, precision="float32")
    (c,) = Population(plain, 2, CPU).train(runs_of(SCHEDULES[0]))
    assert a.value != c.value
    assert a.value == pytest.approx(c.value, rel=0.05)
    assert a.value == pytest.approx(b.value, rel=0.05)


def test_keyed_dropout_drops_the_given_fraction_and_scales_the_rest():
    key = Key()
    layer = KeyedDropout(0.3, 1, key).train()
    x = torch.ones(100_000)
    masks = []
    for value in (1, 2):
        key.value = mix(torch.tensor(value))
        y = layer(x)
        # 0.006 is 4 standard deviations.
        assert (y == 0).double().mean().item() == pytest.approx(0.3, abs=0.006)
        assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
        masks.append(y == 0)
    both = (masks[0] & masks[1]).double().mean().item()
    assert both == pytest.approx(0.09, abs=0.004)
    assert torch.equal(layer.eval()(x), x)


def test_the_hash_is_a_bijection_with_unbiased_bits():
    words = mix(torch.arange(1 << 16))
    assert len(words.unique()) == 1 << 16
    assert words.min() >= 0
    assert words.max() < 1 << 32
    for bit in range(32):
        assert ((words >> bit) & 1).double().mean().item() == pytest.approx(0.5, abs=0.01)
