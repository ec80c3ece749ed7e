"""Processes of the user's code are left alone, except those of a run that is interrupted."""

import multiprocessing
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lrsearch.objectives.child_processes import child_processes, end_child_processes
from tests.doubles import wait_until

WORDS = ["--space", "cosine", "--sampler", "random", "--tracking-uri", "none"]
LOADER = """
import torch, lrsearch
from torch.utils.data import DataLoader, TensorDataset

X = torch.linspace(-1, 1, 64)[:, None]
LOADER = DataLoader(TensorDataset(X, 2 * X), batch_size=16, num_workers=1, persistent_workers=True)

@lrsearch.objective(peak=(1e-3, 1.0), steps=4)
def fit(run):
    w = torch.zeros(1)
    for (t, (lr, _)), (x, y) in zip(enumerate(run.plan), LOADER):
        w -= lr * (2 * x * (x * w - y)).mean()
        run.report(t, float((x * w - y).square().mean()))
    return float((X * w - 2 * X).square().mean())

if __name__ == "__main__":
    result = lrsearch.tune(fit, space="cosine", trials=3, tracking_uri="none", sampler="random")
    print(result.counts["finished"], sum(len(x) for x, _ in LOADER))
"""
POOL = """
import multiprocessing, lrsearch

POOL = None

def square(x):
    return x * x

@lrsearch.objective(peak=(1e-3, 1.0), steps=3)
def fit(run):
    global POOL
    POOL = POOL or multiprocessing.Pool(1)
    return POOL.map(square, [run.plan.lr[0]], chunksize=1)[0]
"""
CHILDREN = """
import multiprocessing, pathlib, subprocess, sys, time, lrsearch

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
NESTED = [sys.executable, "-c", f"import subprocess; subprocess.run({SLEEP})"]
STUBBORN = [sys.executable, "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"]
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
print("kept", subprocess.Popen(SLEEP, **QUIET).pid, flush=True)

@lrsearch.objective(peak=(1e-3, 1.0), steps=3)
def fit(run):
    if run.trial == 0:
        print("kept", subprocess.Popen(SLEEP, **QUIET).pid, flush=True)
        return 1.0
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    process.start()
    stubborn = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    stubborn.stdout.readline()
    print("ended", process.pid, subprocess.Popen(NESTED).pid, stubborn.pid, flush=True)
    time.sleep(600)
"""
SPAWNS = """
import multiprocessing, lrsearch

class Sample:
    def __init__(self, value):
        self.value = value

def double(sample):
    return Sample(2 * sample.value)

@lrsearch.objective(peak=(1e-3, 1.0), steps=3)
def fit(run):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(double, [Sample(run.plan.lr[0])])[0].value
"""
LEFT = """
import multiprocessing, time, lrsearch

@lrsearch.objective(peak=(1e-3, 1.0), steps=3)
def fit(run):
    multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,)).start()
    return 1.0
"""


@pytest.fixture
def started(tmp_path):
    """Return a function that starts Python in an empty folder with a file train.py."""
    processes = []

    def start(text, *words):
        (tmp_path / "train.py").write_text(text)
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
    for other in psutil.process_iter(["cwd"]):
        if other.info["cwd"] == str(tmp_path):
            other.kill()
    for process in processes:
        process.communicate(timeout=30)


def tune(start, text, *words):
    return start(text, "-m", "lrsearch", "tune", "train.py:fit", *WORDS, *words)


@pytest.mark.parametrize("text", [LOADER, POOL], ids=["loader", "pool"])
def test_a_command_leaves_the_workers_of_a_module_alone_and_ends(started, text):
    process = tune(started, text, "--trials", "3")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "comparing" in said
    assert "waiting" not in said


def test_a_loader_with_persistent_workers_can_be_used_after_the_search(started):
    said, error = started(LOADER, "train.py").communicate(timeout=60)
    assert said.split() == ["3", "64"], error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_ends_the_processes_of_the_running_run_and_no_others(started, number):
    process = tune(started, CHILDREN, "--trials", "3")
    found = {"kept": [], "ended": []}
    while not found["ended"]:
        name, *pids = process.stderr.readline().split() or [""]
        if name in found:
            found[name] += map(int, pids)
    parent, nested = psutil.Process(process.pid), psutil.Process(found["ended"][1])
    wait_until(nested.children)
    found["ended"] += [child.pid for child in nested.children()]
    assert len(found["ended"]) == 4
    assert {child.pid for child in parent.children()} >= {*found["kept"], *found["ended"][:3]}
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number, said
    assert "4 processes of the interrupted run were ended" in said
    assert not [pid for pid in found["ended"] if lives(pid)]
    assert [pid for pid in found["kept"] if lives(pid)] == found["kept"]


def test_a_command_names_the_processes_that_it_waits_for_and_a_signal_ends_it(started):
    process = tune(started, LEFT, "--trials", "2", "--no-compare")
    lines = iter(process.stderr.readline, "")
    said = next(line for line in lines if "waiting for processes" in line)
    assert said.endswith("Ctrl-C ends the wait\n")
    left = [int(word) for word in said.partition("(")[2].partition(")")[0].split(", ")]
    assert len(left) == 2
    assert all(map(lives, left))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM


def test_processes_of_a_file_whose_name_has_a_hyphen_can_import_it(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train-it 2.py").write_text(SPAWNS)
    words = ["-m", "lrsearch", "tune", "code/train-it 2.py:fit", *WORDS, "--no-compare"]
    done = subprocess.run(
        [sys.executable, *words, "--trials", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stdout


def test_only_later_processes_are_ended():
    one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    two, before = one, child_processes()
    daemon = multiprocessing.get_context("spawn").Process(
        target=time.sleep, args=(600,), daemon=True
    )
    try:
        daemon.start()
        two = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        assert end_child_processes(before) == 1
        assert (lives(one.pid), lives(two.pid), daemon.is_alive()) == (True, False, True)
        assert end_child_processes(before) == 0
    finally:
        for process in (one, two):
            process.kill()
            process.wait(10)
        daemon.kill()
        daemon.join(10)


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
