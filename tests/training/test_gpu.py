"""Tests of the population trainer on a GPU; run them with `pytest -m gpu`."""

import gc

import numpy as np
import pytest
import torch

from lrsearch import Schedule
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.run import Run
from lrsearch.schedule import Budget
from lrsearch.tasks.digits import digits
from lrsearch.training.batchable import check_batchable
from lrsearch.training.cuda_graphs import Recorder, Replay
from lrsearch.training.population import Population
from lrsearch.training.slot_search import find_slots
from tests.doubles import Given
from tests.torch_doubles import BATCH, exact_task, run_of, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]

GPU = torch.device("cuda", 0)
SCHEDULES = [
    *(Schedule(peak=0.02 * (1 + i), warmup=0.1) for i in range(6)),
    Schedule(peak=0.05, batch_growth=3, coupling=1),
    Schedule(peak=1e6),
]


def runs():
    return Given(*map(run_of, range(len(SCHEDULES)), SCHEDULES))


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_a_gpu_gives_the_outcomes_of_a_cpu(optimizer):
    task = exact_task(optimizer=optimizer)
    cpu = {o.trial: o for o in train(task, runs(), slots=4)}
    population = Population(task, 4, GPU)
    for outcome in population.train(runs()):
        twin = cpu[outcome.trial]
        assert outcome.state == twin.state
        if outcome.state == "finished":
            losses = (outcome.traces["loss"].values, twin.traces["loss"].values)
            np.testing.assert_allclose(*losses, rtol=1e-6)
            assert outcome.value == pytest.approx(twin.value, rel=1e-6)


def test_cohorts_on_a_gpu_give_the_outcomes_of_a_cpu():
    """Later runs are longer and have new seeds; free rows are computed; norms are measured."""
    task, lengths = exact_task(optimizer="nesterov"), [60, 60, 60, 45, 90] * 8

    def given():
        plans = [
            Schedule(peak=0.01 * (1 + i % 7), warmup=0.1).plan(n - 20 * (i < 20), BATCH)
            for i, n in enumerate(lengths)
        ]
        runs = Given(
            *[Run(trial=i, replicate=0, seed=i // 10, plan=plan) for i, plan in enumerate(plans)]
        )
        runs.probes = Diagnosis("cheap")
        return runs

    cpu = {o.trial: o for o in Population(task, 16, torch.device("cpu")).train(given())}
    population = Population(task, 16, GPU)
    for outcome in population.train(given()):
        twin = cpu[outcome.trial]
        assert (outcome.state, twin.state) == ("finished", "finished")
        assert outcome.value == pytest.approx(twin.value, rel=1e-6)
        for name in ("loss", "gradient_norm", "update_norm", "deviation"):
            np.testing.assert_allclose(
                outcome.traces[name].values, twin.traces[name].values, rtol=1e-6
            )
    assert population._replay.enabled
    assert population._cohort == 2


def test_captured_steps_give_the_outcomes_of_eager_ones():
    task = exact_task()
    graphs = Population(task, 4, GPU)
    graphs._revalidate._warm_up = 1
    with_graphs = {o.trial: o for o in graphs.train(runs())}
    assert graphs._replay.enabled
    assert {kind for *_, kind in graphs._replay._graphs} == {"first", "some"}
    assert graphs._revalidate.enabled
    assert graphs._revalidate._graphs
    launched = Population(task, 4, GPU)
    launched._replay.enabled = launched._revalidate.enabled = False
    for outcome in launched.train(runs()):
        assert outcome.state == with_graphs[outcome.trial].state
        if outcome.state == "finished":
            assert outcome.value == pytest.approx(with_graphs[outcome.trial].value, rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_probes_measure_the_same_on_a_gpu_and_on_a_cpu(optimizer):
    task = exact_task(optimizer=optimizer)
    full = Diagnosis("full")

    def probed():
        given = runs()
        given.probes = full
        return given

    cpu = {o.trial: o for o in train(task, probed(), slots=4)}
    population = Population(task, 4, GPU)
    for outcome in population.train(probed()):
        twin = cpu[outcome.trial]
        if outcome.state != "finished":
            continue
        assert outcome.traces.keys() == twin.traces.keys()
        for name in ("gradient_norm", "update_norm", "deviation", "sharpness", "weight_norm"):
            assert outcome.traces[name].updates == twin.traces[name].updates
            np.testing.assert_allclose(
                outcome.traces[name].values, twin.traces[name].values, rtol=1e-4
            )
    assert population._replay.enabled
    assert population._view._replay.enabled
    assert population._view._replay._graphs


def train_many_kinds_of_steps(task, pool):
    """Return the number of graphs kept, and the bytes of GPU memory reserved in all."""
    # Runs end one after the other; each number of runs in flight lasts long enough to capture.
    plans = [Schedule(peak=0.01).plan(n, BATCH) for n in range(40, 40 + 24 * 16, 16)]
    runs = [Run(trial=i, replicate=0, seed=0, plan=plan) for i, plan in enumerate(plans)]
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    population = Population(task, len(plans), GPU)
    if not pool:
        population._replay = Replay(lambda step: Recorder()(step))  # one pool per graph
    assert len(list(population.train(Given(*runs)))) == len(plans)
    return len(population._replay._graphs), torch.cuda.memory_reserved() - before


def test_graphs_share_one_memory_pool():
    task = digits(hidden=4096, held_out=0.3, weight_decay=0.0)
    separate, shared = (train_many_kinds_of_steps(task, pool) for pool in (False, True))
    assert separate[0] == shared[0] >= 8
    assert shared[1] < 0.8 * separate[1]


def test_slots_are_found_by_measuring():
    task = exact_task()
    slots = find_slots(task, check_batchable(task), GPU, 256, Budget(steps=200, batch=16))
    assert slots >= 16  # a model this small is bound by kernel launches
    assert slots & (slots - 1) == 0
