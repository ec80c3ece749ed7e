"""A replayed step has the effect of an eager step; steps that cannot be replayed run eagerly."""

import dataclasses
import logging
import math
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lrsearch import Schedule
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.run import Run
from lrsearch.training import population as population_module
from lrsearch.training.cuda_graphs import WARM_UP, Replay
from lrsearch.training.landscape_view import _same
from lrsearch.training.population import Population
from tests.doubles import Given
from tests.torch_doubles import BATCH, CPU, exact_task, run_of


class Recorder:
    """Replaces CUDA graphs: recording does not change the state, a replay runs the step."""

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
    """Run a step that raises a counter, under two keys in turn; return the results."""
    state = torch.zeros(1)

    def step():
        state.add_(1)
        return state * 10

    return [replay.run(t % 2, step, lambda: [state]).item() for t in range(steps)]


@pytest.mark.parametrize("error", [0.0, 1.0])
@pytest.mark.parametrize("fails", [False, True])
def test_every_step_is_done_exactly_once_with_or_without_graphs(error, fails, caplog):
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


@pytest.mark.parametrize(
    ("row", "column", "error", "kept"),
    [
        (0, 0, 1e-4, True),  # relative to a largest number of 1: rounding after cancellation
        (0, 0, 0.05, False),  # as large as from wrong samples
        (1, 2, 1e3, True),  # a column that amplifies rounding
        (2, 1, math.nan, False),
    ],
)
def test_only_columns_that_do_not_amplify_rounding_are_compared(row, column, error, kept):
    launched = torch.tensor([[1.0, 2, 3], [0.01, -2, math.inf], [math.nan, 0, math.nan]])
    replayed = launched.clone()
    replayed[row, column] += error

    def record(step):
        return lambda: None, replayed

    replay = Replay(record, warm_up=0)
    same = partial(_same, faithful=2)
    seen = replay.run("", lambda: launched, list, same)
    assert replay.enabled == kept
    torch.testing.assert_close(seen, replayed if kept else launched, equal_nan=True)


def test_a_graph_that_does_not_fit_into_memory_leaves_its_step_eager():
    """The step itself fits, so it runs eagerly; other steps are still replayed."""
    state = torch.zeros(1)

    def record(step):
        if step() == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lambda: None, torch.ones(1)

    replay, calls = Replay(record, warm_up=1), []
    for key in ("a", "b", "b", "b", "a", "a"):
        number = 2 if key == "b" else 1
        calls.append(replay.run(key, lambda n=number: torch.full((1,), float(n)), lambda: [state]))
    assert [int(c) for c in calls] == [1, 2, 2, 2, 1, 1]
    assert replay.enabled
    assert list(replay._graphs) == ["a"]


def test_a_replay_without_a_recorder_calls_every_step():
    assert drive(Replay(None), 3) == [10.0, 20.0, 30.0]


def test_a_population_gives_equal_outcomes_with_and_without_replays():
    """Growing batches, refilled slots and a diverging run change which steps can be replayed."""
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


def test_a_replayed_validation_gives_the_values_of_an_eager_one():
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


class Pinned(Recorder):
    """Counts replays after a tensor that the graph reads or writes has moved in memory."""

    def __init__(self, population):
        super().__init__(lambda: population._stack.written())
        self.population, self.moved = population, 0

    def places(self):
        stack, samples = self.population._stack, self.population._samples
        tensors = [*stack._all(), *self.state(), stack.watch._starts, samples._table]
        return [tensor.data_ptr() for tensor in [*tensors, *samples._data]]

    def __call__(self, step):
        (replay, result), places = super().__call__(step), self.places()

        def checked():
            self.moved += self.places() != places
            replay()

        return checked, result


@pytest.mark.parametrize("change", ["longer", "seeds", "watched seeds"])
def test_graphs_are_dropped_when_a_tensor_that_they_read_moves(change, monkeypatch):
    """Later runs need longer tables, or new sample orders and initial parameters."""
    monkeypatch.setattr(Population, "_watched", lambda self, due: slice(None) if due else None)
    task, runs = exact_task(), []
    for i in range(12):
        # More steps of smaller batches need longer tables, but no longer sample order.
        n, batch = (90, 4) if change == "longer" and i // 4 == 1 else (40, BATCH)
        plan, seed = Schedule(peak=0.1).plan(n, batch), i // 4 if "seeds" in change else 0
        runs.append(Run(trial=i, replicate=0, seed=seed, plan=plan))
    given = Given(*runs)
    if change == "watched seeds":
        given.probes = Diagnosis("cheap")
        monkeypatch.setattr(Population, "_watched", lambda self, due: slice(None))
    population = Population(task, 4, CPU)
    recorder = Pinned(population)
    population._replay = Replay(recorder)
    outcomes = list(population.train(given))
    assert {o.state for o in outcomes} == {"finished"}
    assert population._replay.enabled
    assert recorder.recorded >= 2  # before and after the tensors move
    assert not recorder.moved


def test_memory_held_by_an_error_is_released_before_a_new_stack_is_allocated():
    """Otherwise the old and the new stack would be in memory together."""
    task, seen = exact_task(), []

    class Watched(Population):
        def _allocate(self, slots):
            seen.append([stack() is None for stack in stacks])
            super()._allocate(slots)
            stacks.append(weakref.ref(self._stack))

    def loss(model, batch):
        if len(stacks) == 1 and len(seen) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return task.loss(model, batch)

    stacks = []
    runs = [run_of(i, Schedule(peak=0.05 * (1 + i))) for i in range(4)]
    population = Watched(dataclasses.replace(task, loss=loss), 4, CPU)
    assert {o.state for o in population.train(Given(*runs))} == {"finished"}
    assert seen == [[], [True]]


@pytest.mark.parametrize("level", ["cheap", pytest.param("full", marks=pytest.mark.slow)])
def test_replayed_measurements_give_the_numbers_of_eager_ones(level):
    """Three to eight runs are measured together, padded to a power of two."""
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


def test_measurements_are_captured_again_after_memory_has_run_out():
    task, schedules = exact_task(), [Schedule(peak=0.02 * (1 + i)) for i in range(6)]

    class Late(Population):
        def _step(self):
            if self._slots > 3 and any(member.done == 100 for member in self._members):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super()._step()

    def runs():
        given = Given(*map(run_of, range(6), schedules))
        given.probes = Diagnosis("cheap")
        return given

    plain = {o.trial: o for o in Population(task, 6, CPU).train(runs())}
    population = Late(task, 6, CPU)
    population._record = Recorder(list)
    for outcome in population.train(runs()):
        assert outcome.traces == plain[outcome.trial].traces
    assert population._slots == 3
    assert {len(buffer) for buffer in population._view._buffers} == {4}


@pytest.mark.parametrize("cohorts", [2, 4])
def test_slots_filled_in_cohorts_give_the_outcomes_of_slots_filled_one_by_one(
    cohorts, monkeypatch
):
    """Like on a GPU, rows without a run are computed, and several runs begin together."""
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
    monkeypatch.setattr(population_module, "COHORTS", cohorts)
    population = Population(task, 8, CPU)
    population._replay = Replay(Recorder(lambda: population._stack.written()))
    seen = {o.trial: o for o in population.train(runs())}
    assert seen.keys() == plain.keys()
    for trial, outcome in seen.items():
        assert outcome.state == plain[trial].state
        assert outcome.traces == plain[trial].traces
        assert outcome.value == plain[trial].value
    for name, start in population._program.initial().items():  # all rows are free and reset
        assert torch.equal(population._stack.parameters[name], start.expand(8, *start.shape))
    rows = {rows for rows, *_ in population._replay._graphs}
    assert rows
    assert rows <= {8 // cohorts * i for i in range(1, cohorts + 1)}
    assert population._replay.enabled


def test_rows_without_a_run_keep_finite_parameters(monkeypatch):
    """The loss raises an error for outputs that are not finite; free rows must not cause one."""
    monkeypatch.setattr(population_module, "COHORTS", 2)
    task = exact_task()

    def loss(model, batch):
        outputs = model(batch[0])
        share = nn.functional.softmax(outputs, 1)
        target = nn.functional.one_hot(batch[1], 10).double()
        return nn.functional.binary_cross_entropy(share, target, reduction="none").mean(1)

    population = Population(dataclasses.replace(task, loss=loss, metrics=None), 8, CPU)
    population._replay = Replay(Recorder(lambda: population._stack.written()))
    plans = [Schedule(peak=0.1).plan(n, BATCH) for n in (60, 60, 60, 20, 60, 20)]
    runs = [Run(trial=i, replicate=0, seed=0, plan=plan) for i, plan in enumerate(plans)]
    assert {o.state for o in population.train(Given(*runs))} == {"finished"}
    assert population._slots == 8
    assert all(torch.isfinite(tensor).all() for tensor in population._stack.written())


class HostLooks(TorchDispatchMode):
    """Records operations for which the host must wait for the device."""

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
def test_the_host_never_waits_for_the_device_inside_a_step(optimizer):
    population = Population(exact_task(optimizer=optimizer, clip=1.0), 4, CPU)
    population.put([run_of(i, Schedule(peak=0.1)) for i in range(4)])
    population.step()
    with HostLooks() as looks:
        population.step()
    assert looks.seen == []
    with HostLooks() as looks:
        torch.ones(2)[torch.tensor([True, False])].sum().item()
    assert looks.seen  # the check itself detects such operations
