"""Tests of worker pools: distribution of runs, dead workers, equality with one process."""

import os
import queue
import signal
import threading
import time

import pytest

import lrsearch
from lrsearch import api
from lrsearch.codec import decode, encode
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.schedule import Schedule
from lrsearch.workers.pool import WorkerPool
from lrsearch.workers.workforce import Workforce
from tests.doubles import Bowl, Given, wait_for_threads, wait_until

TASK = """
import itertools, os, pathlib, signal
import torch
from lrsearch import TorchTask

CALLS = itertools.count()
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(64, 3, generator=GENERATOR, dtype=torch.float64)


class Line(TorchTask):
    train = (X, X.sum(1))
    validation = train
    unit = "mean square"
    peak = (1e-3, 0.02)
    steps, batch, optimizer = 80, 8, "sgd"

    def model(self, generator):
        layer = torch.nn.Linear(3, 1, dtype=torch.float64)
        for parameter in layer.parameters():
            torch.nn.init.uniform_(parameter, -1, 1, generator=generator)
        return layer

    def loss(self, model, batch):
        x, y = batch
        mark = pathlib.Path(os.environ.get("MARK", "nowhere"))
        # Once, after the task's first steps, while runs are in flight.
        if "LRSEARCH_WORKER" in os.environ and next(CALLS) > 60 and mark.exists():
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return (model(x)[..., 0] - y).square()
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line.py").write_text(TASK)
    return {"trials": 8, "sampler": "random", "tracking_uri": "none", "slots": 4}


def essence(result):
    return [(t.index, t.schedule, t.state) for t in result.trials]


def check_equal(one, other):
    assert essence(one) == essence(other)
    for a, b in zip(one.trials, other.trials, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-9)
        assert a.diagnostics == pytest.approx(b.diagnostics, rel=1e-6)
        assert a.outcomes[0].traces.keys() == b.outcomes[0].traces.keys()


@pytest.mark.slow
def test_populations_in_workers_give_the_results_of_one_process(task):
    alone = lrsearch.tune("line.py:Line", study="alone", **task, compare=False)
    worked = lrsearch.tune("line.py:Line", study="worked", workers=2, **task, compare=False)
    check_equal(alone, worked)
    assert worked.trials[0].diagnostics


@pytest.mark.slow
def test_a_killed_population_is_restarted_with_its_runs(task, tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    alone = lrsearch.tune("line.py:Line", study="alone", **task, compare=False)
    (tmp_path / "mark").touch()
    worked = lrsearch.tune("line.py:Line", study="worked", workers=2, **task, compare=False)
    assert not (tmp_path / "mark").exists()
    check_equal(alone, worked)
    # One of two workers was killed, with at most four runs.
    assert 1 <= sum(t.retries for t in worked.trials) <= 4


@pytest.mark.slow
def test_workers_import_a_task_class_and_an_instance_is_rejected(task, monkeypatch):
    monkeypatch.syspath_prepend(".")
    import line

    assert lrsearch.tune(line.Line, workers=2, **task, compare=False).counts["finished"] == 8
    with pytest.raises(RequestError, match="a worker cannot import"):
        lrsearch.tune(line.Line(), workers=2, study="other", **task, compare=False)


@pytest.mark.slow
def test_options_reach_the_workers(task):
    words = {**task, "trials": 4, "options": {"hidden": 4}, "steps": 20}
    alone = lrsearch.tune("digits", study="alone", **words, compare=False)
    check_equal(alone, lrsearch.tune("digits", study="worked", workers=2, **words, compare=False))


class ScriptedWorker:
    """A worker whose messages are sent by the test."""

    def __init__(self, order, index, inbox):
        self.order, self.index, self.inbox = order, index, inbox
        self.given, self.closed = queue.SimpleQueue(), False

    def say(self, message):
        self.inbox.put((self, message))

    def give(self, runs):
        self.given.put(runs)

    def close(self, *, dying=False):
        self.closed = True
        return "exit code 9"


class Stage:
    """A pool of scripted workers that is evaluated in its own thread."""

    def __init__(self, *, count, runs, slots, each=None, retries=1):
        self.started, self.ended, self.error = [], [], None
        bowl = Bowl(slots=each)
        pool = WorkerPool(
            "x", bowl, {}, self.start_worker, lambda: None, count=count, retries=retries
        )
        plan = Schedule(peak=0.1).plan(steps=4, batch=1)
        given = Given(
            *[lrsearch.Run(trial=i, replicate=0, seed=i, plan=plan) for i in range(runs)],
            slots=slots,
        )
        self.thread = threading.Thread(target=self.work, args=(pool, given), daemon=True)
        self.thread.start()
        wait_until(lambda: len(self.started) >= count, pause=0.001)

    def start_worker(self, order, index, inbox):
        self.started.append(ScriptedWorker(order, index, inbox))
        return self.started[-1]

    def work(self, pool, runs):
        try:
            self.ended.extend(pool.evaluate(runs))
        except SearchFailed as error:
            self.error = error

    def end(self):
        wait_for_threads(self.thread)
        assert all(worker.closed for worker in self.started)
        return [(o.trial, o.state, o.retries) for o in self.ended]


def outcome(run):
    return encode(decode(lrsearch.Run, run).end("finished", 1.0))


def test_a_worker_gets_at_most_the_runs_it_asks_for_and_an_idle_worker_waits():
    stage = Stage(count=2, runs=3, slots=2)
    one, two = stage.started
    assert [one.order["slots"], two.order["slots"]] == [2, 2]
    one.say({"room": 2})
    first = one.given.get(timeout=5)
    assert [run["trial"] for run in first] == [0, 1]
    two.say({"room": 2})
    rest = two.given.get(timeout=5)
    assert [run["trial"] for run in rest] == [2]
    one.say(outcome(first[1]))
    one.say({"room": 1})
    assert one.given.get(timeout=5) == []  # no run can start; the worker continues its other run
    one.say(outcome(first[0]))
    one.say({"room": 2})
    time.sleep(0.1)
    assert one.given.empty()  # an idle worker gets no empty answer
    two.say(outcome(rest[0]))
    two.say({"room": 2})
    assert stage.end() == [(1, "finished", 0), (0, "finished", 0), (2, "finished", 0)]


def test_the_run_of_a_dead_worker_is_repeated_and_fails_the_second_time():
    stage = Stage(count=2, runs=2, slots=2)
    one, two = stage.started
    one.say({"room": 1})
    one.given.get(timeout=5)
    one.say(None)
    two.say({"room": 2})
    runs = two.given.get(timeout=5)
    assert [(run["trial"], run["retries"]) for run in runs] == [(0, 1), (1, 0)]
    two.say(outcome(runs[1]))
    two.say(None)
    assert len(stage.started) >= 3
    for worker in stage.started[2:]:
        worker.say({"room": 1})
    assert sorted(stage.end()) == [(0, "failed", 1), (1, "finished", 0)]
    assert "died 2 times, the last with exit code 9" in stage.ended[-1].reason


def test_the_search_fails_if_workers_die_before_they_ask_for_a_run():
    stage = Stage(count=2, runs=2, slots=2)
    for i in range(100):
        wait_until(lambda i=i: len(stage.started) > i or not stage.thread.is_alive(), pause=0.001)
        if not stage.thread.is_alive():
            break
        stage.started[i].say(None)
    assert stage.end() == []
    assert "workers die before they ask for a run" in str(stage.error)
    assert len(stage.started) < 10


def test_messages_of_a_replaced_worker_are_ignored():
    stage = Stage(count=1, runs=1, slots=1, each=1)
    gone = stage.started[0]
    gone.say({"room": 1})
    run = gone.given.get(timeout=5)[0]
    gone.say(None)
    wait_until(lambda: len(stage.started) == 2, pause=0.001)
    gone.say(outcome(run))
    gone.say(None)
    stage.started[1].say({"room": 1})
    again = stage.started[1].given.get(timeout=5)[0]
    stage.started[1].say(outcome(again))
    stage.started[1].say({"room": 1})
    assert stage.end() == [(0, "finished", 1)]


@pytest.mark.parametrize(
    "message",
    [
        *({}, [], 3, "x", {"room": "1"}, {"room": 1, "more": 2}, {"trial": 0}),
        "another run",
    ],
)
def test_a_worker_whose_message_is_unreadable_is_replaced(message):
    stage = Stage(count=1, runs=2, slots=1)
    one = stage.started[0]
    one.say({"room": 1})
    run = one.given.get(timeout=5)[0]
    if message == "another run":
        message = {**outcome(run), "trial": 7}
    one.say(message)
    wait_until(lambda: len(stage.started) == 2, pause=0.001)
    two = stage.started[1]
    for index in (0, 1):
        two.say({"room": 1})
        run = two.given.get(timeout=5)[0]
        assert (run["trial"], run["retries"]) == (index, 1 - index)
        two.say(outcome(run))
    two.say({"room": 1})
    assert stage.end() == [(0, "finished", 1), (1, "finished", 0)]


def test_text_that_a_run_writes_to_the_pipe_of_its_worker_fails_it_and_the_search_ends(
    tmp_path, monkeypatch
):
    (tmp_path / "noisy.py").write_text(
        "import os, stat, lrsearch\n"
        "@lrsearch.objective(peak=(1e-3, 1.0), steps=5)\n"
        "def noisy(run):\n"
        "    if run.trial == 1:\n"
        "        for fd in range(3, 30):\n"
        "            try:\n"
        "                os.write(fd, b'\\xff hello\\n')\n"
        "            except OSError:\n"
        "                pass\n"
        "    return 1.0\n"
    )
    monkeypatch.chdir(tmp_path)
    words = {"trials": 3, "workers": 2, "sampler": "random", "max_retries": 1}
    result = lrsearch.tune(
        "noisy.py:noisy", space="cosine", tracking_uri="none", **words, compare=False
    )
    assert result.counts == {"finished": 3, "diverged": 0, "pruned": 0, "failed": 1}
    reason = "its process died 2 times, the last with a message that is not one of lrsearch"
    assert result.trial(1).reason == reason


def test_a_worker_with_another_version_is_rejected(monkeypatch):
    from lrsearch.workers import worker

    monkeypatch.setattr(lrsearch, "__version__", "9.9")
    order = {"version": "1.0", "objective": "digits", "options": {}, "device": "cpu"}
    with pytest.raises(SearchFailed, match=r"a worker has lrsearch 9.9, but the search has 1.0"):
        next(worker.answer(order, lambda room: []))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"engine": "slurm"}, "`engine=` is 'slurm'; known: local, ray"),
        ({"workers": 0}, "`workers=` is 0"),
        ({"address": "auto"}, "`address=` applies to engine ray"),
        ({"worker_cpus": 0.5}, "`worker_cpus=` applies to engine ray"),
        ({"worker_cpus": -1, "engine": "ray"}, "`worker_cpus=` is -1"),
    ],
)
def test_invalid_arguments_of_a_workforce_are_rejected(words, message):
    with pytest.raises(RequestError, match=message):
        Workforce(**words)


@pytest.mark.slow
def test_a_result_can_be_compared_by_any_number_of_workers(task):
    result = lrsearch.tune("line.py:Line", workers=2, **task, compare=False)
    words = {"top": 1, "seeds": 5, "against": ["cosine"]}
    found = lrsearch.compare(result, **words)
    assert result.source.setup.workers == 2
    assert lrsearch.compare(result, workers=3, **words) == found  # all runs are stored already
    assert lrsearch.compare(result, workers=1, **{**words, "seeds": 10}).looks.most == 10


def test_one_gpu_for_several_workers_is_rejected():
    bowl = Bowl()
    with pytest.raises(RequestError, match="device cuda:1 is one GPU, but each worker has"):
        Workforce(workers=2).join("x", bowl, options=None, device="cuda:1", alone=False, retries=0)


def test_slots_are_stored_per_worker_and_the_window_for_all_workers(task):
    lrsearch.tune("line.py:Line", study="s", workers=2, **{**task, "trials": 4}, compare=False)
    from lrsearch.study.location import Location
    from lrsearch.study.store import Store

    store = Store.read(Location.of("s"))
    assert (store.slots, store.window) == (4, 15)


def test_a_study_keeps_the_number_of_runs_it_was_created_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"trials": 3, "steps": 20, "tracking_uri": "none", "sampler": "tpe"}
    lrsearch.tune("quadratic", parallel=8, **words, compare=False)
    store = api.load("quadratic-default")
    assert len(store.trials) == 3
    from lrsearch.study.location import Location
    from lrsearch.study.store import Store

    assert Store.read(Location.of("quadratic-default")).window == 15
    with pytest.raises(RequestError, match="for 8 runs at the same time, not for 4; leave out"):
        lrsearch.tune("quadratic", parallel=4, **{**words, "trials": 5}, compare=False)
    assert len(lrsearch.tune("quadratic", **{**words, "trials": 5}, compare=False).trials) == 5


def test_a_killed_worker_of_a_function_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "supervised.py").write_text(
        "import os, pathlib, time, lrsearch\n"
        "@lrsearch.objective(peak=(1e-3, 1.0), steps=5)\n"
        "def slow(run):\n"
        "    pathlib.Path(f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(0.2)\n"
        "    return float(run.plan.lr[0])\n"
    )
    words = {"workers": 2, "trials": 16, "tracking_uri": "none", "sampler": "random"}

    def kill():
        found = wait_until(lambda: list(tmp_path.glob("*.pid")), 60)
        os.kill(int(found[0].stem), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    result = lrsearch.tune("supervised.py:slow", **words, compare=False)
    wait_for_threads(killer)
    assert [t.index for t in result.trials] == list(range(16))
    assert result.counts["finished"] == 16
    assert sum(t.retries for t in result.trials) <= 1
    assert len(list(tmp_path.glob("*.pid"))) == 3
