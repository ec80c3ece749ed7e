"""The number of slots is measured, stored with the study, and lowered if memory runs out."""

import logging

import numpy as np
import pytest
import torch

import lrsearch
from lrsearch import Schedule
from lrsearch.contract import Elastic
from lrsearch.errors import RequestError
from lrsearch.objectives.builtin import make
from lrsearch.run import Run
from lrsearch.schedule import Budget
from lrsearch.search.slots import useful_slots, window
from lrsearch.tasks.task import validation_steps
from lrsearch.training import devices, slot_search
from lrsearch.training.batchable import Batchable
from lrsearch.training.population import Population
from lrsearch.training.trainer import Trainer
from tests.doubles import Bowl, Given, asked, search
from tests.torch_doubles import CPU, STEPS, Line, alone, exact_task, run_of, train


class Measured:
    """Replaces the timing: returns given seconds per step and run for each number of slots."""

    def __init__(self, together, alone=1.0, bytes_a_slot=0, fails_from=1 << 20):
        self.seconds, self.plain = together, alone
        self.bytes_a_slot, self.fails_from = bytes_a_slot, fails_from
        self.used, self.tried = 0, []

    def __call__(self, *_):
        return self

    def alone(self):
        return self.plain

    def together(self, slots):
        self.tried.append(slots)
        if slots >= self.fails_from:
            raise torch.OutOfMemoryError("no room")
        self.used = max(self.used, slots * self.bytes_a_slot)
        return self.seconds(slots)


@pytest.fixture
def found(monkeypatch):
    def find(measured, most=1024):
        monkeypatch.setattr(slot_search, "_Timing", measured)
        monkeypatch.setattr(slot_search, "free_bytes", lambda device: 1000)
        monkeypatch.setattr(slot_search, "peak_bytes", lambda device: measured.used)
        return slot_search.find_slots(None, Batchable(), CPU, most, Budget(steps=1))

    return find


def test_slots_are_doubled_while_that_saves_time(found):
    assert found(Measured(lambda k: max(1 / k, 1 / 16))) == 16
    assert found(Measured(lambda k: 1 / k)) == 1024
    assert found(Measured(lambda k: 1 / k), most=17) == 16
    assert found(Measured(lambda k: 1 / k), most=1) == 1


def test_runs_train_one_by_one_if_a_population_is_slower(found):
    assert found(Measured(lambda k: 1.2 - 0.001 * k)) == 1
    measured = Measured(lambda k: 1.2)
    assert found(measured) == 1
    assert measured.tried == [2, 4]


def test_slots_stop_growing_before_memory_is_full(found):
    measured = Measured(lambda k: 1 / k, bytes_a_slot=10)
    assert found(measured) == 64  # 2 x 320 bytes fit into 0.7 x 1000, 2 x 640 do not
    assert measured.tried[-1] == 64


def test_slots_stop_growing_when_memory_runs_out(found):
    assert found(Measured(lambda k: 1 / k, fails_from=32)) == 16


@pytest.mark.parametrize("faster", [True, False])
def test_a_task_uses_the_default_slots_or_the_fastest_power_of_two(faster, monkeypatch):
    digits = make("digits", {"hidden": 8}, device="cpu")
    budget = Budget(steps=digits.setup.steps, batch=digits.setup.batch)
    monkeypatch.setattr(slot_search._Timing, "alone", lambda self: 1.0)
    seconds = (lambda self, k: 1 / k) if faster else (lambda self, k: 2.0)
    monkeypatch.setattr(slot_search._Timing, "together", seconds)
    assert isinstance(digits, Elastic)
    assert digits.setup.slots is None
    assert digits.fit(1, budget, thorough=False) == digits.fit(1, budget, thorough=True) == 1
    assert digits.fit(5, budget, thorough=True) == (4 if faster else 1)
    assert digits.fit(5, budget, thorough=False) == (4 if faster else 1)
    assert digits.fit(100, budget, thorough=False) == (16 if faster else 1)
    assert digits.fit(1000, budget, thorough=False) == (32 if faster else 1)


def test_a_plain_loop_and_a_population_are_both_timed():
    digits = make("digits", {"hidden": 8}, device="cpu")
    timing = slot_search._Timing(digits.task, digits.batchable, CPU, Budget(steps=40, batch=16))
    assert 0 < timing.alone() < 1
    assert 0 < timing.together(2) < 1


def test_useful_slots_leave_two_thirds_of_the_trials_to_the_sampler():
    for trials in range(1, 300):
        for seeds in (1, 3):
            slots = useful_slots(trials, seeds)
            assert slots == seeds or window(slots, seeds) <= trials / 3
            assert window(slots + seeds, seeds) > trials / 3


class Stretchy(Bowl):
    """A bowl with a given answer to `fit`."""

    def __init__(self, wants, **words):
        super().__init__(slots=None, **words)
        self.wants, self.asked = wants, []

    def fit(self, most, budget, *, thorough):
        self.asked.append((most, thorough))
        return self.wants

    def evaluate(self, runs):
        held = []
        while True:
            held += runs.take(runs.slots - len(held))
            if not held:
                return
            yield self.outcome(held.pop(0))


def test_a_study_keeps_its_slots_and_slots_never_change_its_schedules(tmp_path):
    bowl = Stretchy(4)
    whole = search(bowl, tmp_path / "a", trials=40, sampler="tpe")
    assert bowl.asked == [(useful_slots(40, 1), False)]
    later = Stretchy(99)
    for trials, slots in ((10, "auto"), (20, None), (25, 1), (33, 7), (40, 64)):
        first = Stretchy(4) if trials == 10 else later
        parts = search(first, tmp_path / "b", trials=trials, sampler="tpe", slots=slots)
    assert later.asked == []
    assert asked(parts) == asked(whole)


def test_more_slots_widen_the_samplers_staleness_window(tmp_path):
    one = search(Stretchy(1), tmp_path / "a", trials=30, sampler="tpe")
    many = search(Stretchy(1), tmp_path / "b", trials=30, sampler="tpe", slots=8)
    differ = [
        a.index for a, b in zip(one.trials, many.trials, strict=True) if a.schedule != b.schedule
    ]
    assert min(differ) >= 10  # the first 10 points fill the space evenly without using any value


@pytest.mark.parametrize("slots", ["many", 0, -1, 1.5, "", True])
def test_invalid_slots_are_rejected(tmp_path, slots):
    with pytest.raises(RequestError, match="slots"):
        search(Stretchy(2), tmp_path, trials=1, slots=slots)


@pytest.mark.parametrize("slots", [4, "auto"])
def test_an_objective_without_slots_rejects_them(tmp_path, slots):
    with pytest.raises(RequestError, match="trains one run at a time"):
        search(Bowl(), tmp_path, trials=1, slots=slots)


def test_a_missing_gpu_is_rejected_before_training(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.find_device("auto") == CPU
    for text in ("cuda", "cuda:1"):
        with pytest.raises(RequestError, match="sees no GPU"):
            devices.find_device(text)


def test_a_gpu_number_beyond_the_last_is_rejected(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.find_device("auto") == torch.device("cuda")
    assert devices.find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(RequestError, match="sees 2 GPUs"):
        devices.find_device("cuda:2")


class Small(Population):
    """A population that runs out of memory above a few members."""

    room = 3

    def _step(self):
        if len(self._members) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._step()


def test_running_out_of_memory_lowers_the_slots_and_loses_no_run(caplog):
    task = exact_task()
    schedules = [Schedule(peak=0.01 * (1 + i)) for i in range(11)]
    whole = {o.trial: o for o in train(task, Given(*map(run_of, range(11), schedules)), slots=8)}
    with caplog.at_level(logging.WARNING):
        small = Small(task, 8, CPU)
        outcomes = list(small.train(Given(*map(run_of, range(11), schedules))))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "out of memory with 8 runs in flight; continuing with 4",
        "out of memory with 4 runs in flight; continuing with 2",
    ]
    assert sorted(o.trial for o in outcomes) == list(range(11))
    for outcome in outcomes:
        assert outcome.state == "finished"
        assert outcome.value == whole[outcome.trial].value
        assert outcome.traces == whole[outcome.trial].traces


def test_running_out_of_memory_midway_restarts_the_runs_in_flight():
    task = exact_task()

    class Late(Small):
        room = 8

        def _step(self):
            if any(member.done == 50 for member in self._members):
                type(self).room = 2
            return super()._step()

    runs = [run_of(i, Schedule(peak=0.02 * (1 + i))) for i in range(4)]
    whole = {o.trial: o for o in train(task, Given(*runs), slots=4)}
    fresh = [run_of(i, Schedule(peak=0.02 * (1 + i))) for i in range(4)]
    for outcome in Late(task, 4, CPU).train(Given(*fresh)):
        assert outcome.traces == whole[outcome.trial].traces
        assert outcome.updates == STEPS


def test_a_run_that_does_not_fit_into_memory_fails():
    class Full(Small):
        room = 0

    runs = [run_of(i, Schedule(peak=0.1)) for i in range(3)]
    outcomes = list(Full(exact_task(), 2, CPU).train(Given(*runs)))
    assert [o.trial for o in outcomes] == [0, 1, 2]
    assert {(o.state, o.reason) for o in outcomes} == {
        ("failed", "out of memory with one run in flight")
    }


def test_an_error_other_than_out_of_memory_is_reported_as_such():
    class Broken(Population):
        def _step(self):
            raise RuntimeError("shapes differ")

    (ended,) = Broken(exact_task(), 2, CPU).train(Given(run_of(0, Schedule(peak=0.1))))
    assert (ended.state, ended.reason) == ("failed", "RuntimeError: shapes differ")
    assert "in _step" in ended.details


@pytest.mark.parametrize("updates", [1, 2, 3, 4, 7, 120])
def test_validation_steps_are_evenly_spaced(updates):
    exact = {np.floor(updates * i / 4 + 0.5) for i in (1, 2, 3)}
    assert validation_steps(updates, 4) == exact - {0, updates}
    assert validation_steps(updates, 1) == frozenset()


@pytest.mark.parametrize("slots", [1, 4])
def test_an_intermediate_value_is_that_of_a_run_that_ends_at_its_step(slots):
    task = exact_task(evaluations=3)
    run = run_of(0, Schedule(peak=0.05, batch_growth=2))
    other = run_of(1, Schedule(peak=0.1))
    given = Given(run, other)
    given.slots = slots
    outcomes = {o.trial: o for o in Trainer(task, device=CPU).evaluate(given)}
    trace = outcomes[0].traces["val_loss"]
    ends = [*sorted(validation_steps(len(run.plan), 3)), len(run.plan)]
    assert [t + 1 for t in trace.updates] == ends
    assert trace.values[-1] == outcomes[0].value
    for end, value in zip(ends, trace.values, strict=True):
        short = lrsearch.Plan(
            lr=run.plan.lr[:end], batch=run.plan.batch[:end], momentum=run.plan.momentum[:end]
        )
        assert value == pytest.approx(alone(task, short, run.seed)[1], rel=1e-9)


def test_a_task_can_be_a_class():
    task = Line(steps=30)
    assert (task.name, task.steps, task.batch, task.unit) == ("Line", 30, 8, "square")
    assert len(task.train[0]) == 64
    with pytest.raises(RequestError, match="steps is 0"):
        Line(steps=0)


@pytest.mark.parametrize("slots", [1, 4])
def test_a_users_own_task_is_tuned(tmp_path, slots):
    words = {"space": "cosine", "tracking_uri": "none", "storage": tmp_path / "line.journal"}
    result = lrsearch.tune(Line(), trials=12, slots=slots, **words, compare=False)
    assert (result.study, result.unit) == ("Line-cosine", "square")
    assert result.counts["finished"] == 12
    run = Run(
        trial=0, replicate=0, seed=0, plan=result.best.schedule.with_momentum(0.0).plan(40, 8)
    )
    assert result.best.value < 0.5
    assert len(result.best.outcomes[0].traces["loss"].values) == len(run.plan)


def test_an_unsupported_device_is_rejected(tmp_path):
    words = {"trials": 1, "tracking_uri": "none", "storage": tmp_path / "line.journal"}
    with pytest.raises(RequestError, match="device is 'tpu'; give auto, cpu, cuda"):
        lrsearch.tune(Line(), device="tpu", **words, compare=False)
    with pytest.raises(RequestError, match="chooses its device itself"):
        lrsearch.tune(Bowl(), device="cpu", **words, compare=False)
    with pytest.raises(RequestError, match="computed by NumPy"):
        lrsearch.tune("quadratic", device="cuda", **words, compare=False)
