"""A step that is replayed does what it does when launched, or is launched."""

import logging

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lrsearch import Schedule
from lrsearch.contract import Run
from lrsearch.diagnostics.probes import Diagnosis
from lrsearch.objectives import population as population_module
from lrsearch.objectives.graphs import WARM_UP, Replay
from lrsearch.objectives.population import Population
from tests.objectives.test_population import BATCH, CPU, exact_task, run_of
from tests.objectives.test_proxy import Given


class Recorder:
    """Stands in for CUDA's graphs: recording does nothing, a replay does the step."""

    def __init__(self, state, error=0.0, fails=False):
        self.state, self.error, self.fails = state, error, fails
        self.recorded = self.replayed = 0

    def __call__(self, step):
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        before = [tensor.clone() for tensor in self.state()]
        result = step()
        for tensor, value in zip(self.state(), before, strict=True):
            tensor.copy_(value)
        self.recorded += 1

        def replay():
            self.replayed += 1
            result.copy_(step() + self.error)

        return replay, result


def drive(replay, steps):
    """A counter that every step raises, by a key of two kinds."""
    state = torch.zeros(1)

    def step():
        state.add_(1)
        return state * 10

    return [replay.run(t % 2, step, lambda: [state]).item() for t in range(steps)]


@pytest.mark.parametrize("error", [0.0, 1.0])
@pytest.mark.parametrize("fails", [False, True])
def test_every_step_is_done_once_whatever_happens(error, fails, caplog):
    state = []
    recorder = Recorder(lambda: state, error, fails)
    replay = Replay(recorder)
    counter = torch.zeros(1)
    state.append(counter)

    def step():
        counter.add_(1)
        return counter * 10

    with caplog.at_level(logging.WARNING):
        seen = [replay.run(t % 2, step, lambda: state).item() for t in range(60)]
    assert seen == [10.0 * (t + 1) for t in range(60)]
    assert replay.enabled == (not error and not fails)
    assert len(caplog.records) == (not replay.enabled)
    for record in caplog.records:
        assert "\n" not in record.getMessage()
    if replay.enabled:
        assert recorder.recorded == 2
        assert recorder.replayed == 60 - 2 * WARM_UP
    elif fails:
        assert recorder.recorded == 0
    else:
        assert (recorder.recorded, recorder.replayed) == (1, 1)


@pytest.mark.parametrize(("wrong", "kept"), [(1, True), (2, True), (3, False)])
def test_as_many_numbers_must_agree_as_are_asked_for(wrong, kept):
    """Lanczos's last numbers amplify rounding; a graph that reads other memory has none right."""

    def step():
        return torch.arange(4.0)

    def record(step):
        result = step()
        result[:wrong] += 1
        return lambda: None, result

    replay = Replay(record, warm_up=0, agreement=0.5)
    seen = replay.run("", step, list)
    assert replay.enabled == kept
    assert (seen.tolist() == [0, 1, 2, 3]) == (not kept)


def test_without_graphs_a_step_is_called():
    assert drive(Replay(None), 3) == [10.0, 20.0, 30.0]


def test_a_population_that_replays_is_the_one_that_does_not():
    """Growing batches, refills and a run that leaves early change what may be replayed."""
    task = exact_task(optimizer="adam", clip=1.0)
    schedules = [Schedule(peak=0.01 * (1 + i), warmup=0.1) for i in range(5)]
    schedules += [Schedule(peak=1e12), Schedule(peak=0.02, batch_growth=2)]

    def runs():
        return Given(*map(run_of, range(len(schedules)), schedules))

    plain = {o.trial: o for o in Population(task, 3, CPU).train(runs())}
    population = Population(task, 3, CPU)
    recorder = Recorder(lambda: population._stack.written())
    population._replay = Replay(recorder)
    for outcome in population.train(runs()):
        assert outcome.traces == plain[outcome.trial].traces
        assert outcome.value == plain[outcome.trial].value
    assert population._replay.enabled
    assert recorder.replayed > 100
    assert {kind for *_, kind in population._replay._graphs} == {"first", "some"}


def test_a_validation_that_is_replayed_is_the_one_that_is_launched():
    task = exact_task()
    runs = [Given(*[run_of(i, Schedule(peak=0.01 * (1 + i))) for i in range(5)]) for _ in "ab"]
    plain = {o.trial: o for o in Population(task, 2, CPU).train(runs[0])}
    population = Population(task, 2, CPU)
    recorder = Recorder(list)
    population._revalidate = Replay(recorder)
    for outcome in population.train(runs[1]):
        assert outcome.traces == plain[outcome.trial].traces
        assert outcome.value == plain[outcome.trial].value
        assert outcome.figures == plain[outcome.trial].figures
    assert population._revalidate.enabled
    assert recorder.replayed > 3


@pytest.mark.parametrize("level", ["cheap", "full"])
def test_looks_that_are_replayed_see_what_launched_ones_see(level):
    """Twelve runs in parts of four, so that looks are of three to eight at once, and padded."""
    task = exact_task(optimizer="adam")
    lengths = [120, 120, 90, 120, 120, 90, 120, 120, 90, 120, 120, 120]

    def runs():
        schedules = [Schedule(peak=0.002 * (1 + i)) for i in range(12)]
        plans = [s.plan(n, BATCH) for s, n in zip(schedules, lengths, strict=True)]
        given = Given(
            *[Run(trial=i, replicate=0, seed=i % 2, plan=plan) for i, plan in enumerate(plans)]
        )
        given.probes = Diagnosis(level)
        return given

    plain = {o.trial: o for o in Population(task, 8, CPU).train(runs())}
    population = Population(task, 8, CPU)
    recorder = Recorder(list)
    population._record = recorder
    seen = {o.trial: o for o in population.train(runs())}
    assert seen.keys() == plain.keys()
    for trial, outcome in seen.items():
        assert outcome.traces == plain[trial].traces
        assert outcome.traces["weight_norm"].values
    assert population._view._replay.enabled
    assert recorder.replayed > 0
    assert all(rows & (rows - 1) == 0 for _, rows, _ in population._view._replay._graphs)


@pytest.mark.parametrize("parts", [2, 4])
def test_slots_that_are_filled_in_parts_train_the_same_runs(parts, monkeypatch):
    """As on a GPU: rows without a run are computed, and runs begin several at a time."""
    task = exact_task(optimizer="adam", clip=1.0)
    lengths = np.random.default_rng(1).choice([20, 30, 45], size=30)

    def runs():
        plans = [
            Schedule(peak=1e12 if i % 7 == 3 else 0.002 * (1 + i % 5)).plan(int(n), BATCH)
            for i, n in enumerate(lengths)
        ]
        return Given(
            *[Run(trial=i, replicate=0, seed=i % 3, plan=plan) for i, plan in enumerate(plans)]
        )

    plain = {o.trial: o for o in Population(task, 8, CPU).train(runs())}
    monkeypatch.setitem(population_module.PARTS, "cpu", parts)
    population = Population(task, 8, CPU)
    population._replay = Replay(Recorder(lambda: population._stack.written()))
    seen = {o.trial: o for o in population.train(runs())}
    assert seen.keys() == plain.keys()
    for trial, outcome in seen.items():
        assert outcome.state == plain[trial].state
        assert outcome.traces == plain[trial].traces
        assert outcome.value == plain[trial].value
    rows = {rows for rows, *_ in population._replay._graphs}
    assert rows <= {8 // parts * i for i in range(1, parts + 1)}
    assert population._replay.enabled


class HostLooks(TorchDispatchMode):
    """Counts operations for which the host must wait for the device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        if name in self.NAMES or any(i is not None and i.dtype == torch.bool for i in indices):
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_the_host_never_waits_inside_a_step(optimizer):
    population = Population(exact_task(optimizer=optimizer, clip=1.0), 4, CPU)
    population.put([run_of(i, Schedule(peak=0.1)) for i in range(4)])
    population.step()
    with HostLooks() as looks:
        population.step()
    assert looks.seen == []
    with HostLooks() as looks:
        torch.ones(2)[torch.tensor([True, False])].sum().item()
    assert looks.seen  # it does notice
