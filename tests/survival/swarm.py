"""Start processes that search one study, and kill them.

Run as a module, it is a parent process: it has one thread, imports everything and forks searches.
These run trials within milliseconds, so kills hit running trials.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import sqlalchemy

from lrsearch import api
from lrsearch.cli import main
from lrsearch.codec import encode
from lrsearch.study.journal import open_journal

STUDY = Path(__file__).with_name("study.py")
#: Seconds for which a slow test lets a parent process run; the test's own timeout is longer.
SLOW = 840


def nap(trials, *words):
    """Return the command line of a search with short trials and almost unlimited retries."""
    return [f"{STUDY}:nap", "--trials", str(trials), "--max-retries", "1000", *words]


def swarm(folder, words, *, seconds=240, **how):
    """Run a parent process in a folder, which starts searches and kills them.

    Args:
        folder: working folder of the searches.
        words: command line of the searches.
        seconds: timeout, after which the parent and its searches are killed.
        how: number of `kills`, of processes `alive` at a time, seconds `between` kills (low,
            high), `seed`, the `signal` to send, and whether searches are `fresh` processes, as
            torch cannot be forked.

    Returns:
        The number of kills that hit a running process, and the worst exit code of the searches
        that were not killed, including a last one.
    """
    command = [sys.executable, "-m", "tests.survival.swarm", json.dumps([words, how])]
    parent = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(STUDY.parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = parent.communicate(timeout=seconds)
    finally:
        if parent.poll() is None:  # its searches would keep running
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait(30)
    assert parent.returncode == 0, err[-3000:]
    assert "Traceback" not in err, err[-3000:]
    return json.loads(out)


def result_of(folder, study, storage=None):
    """Return the study as lrsearch reads it; `storage` is its database, if it is in one."""
    storage = storage or str(folder / "lrsearch-studies" / f"{study}.journal")
    return api.load(study, storage=storage)


def optuna_trials(folder, study, storage=None):
    """Return the study's trials as Optuna reads them."""
    if storage is None:
        storage = open_journal(folder / "lrsearch-studies" / f"{study}.journal")
    else:
        storage = optuna.storages.RDBStorage(storage, {"poolclass": sqlalchemy.NullPool})
    return optuna.load_study(study_name=study, storage=storage).trials


def check_every_trial_ended_once(folder, study, trials, storage=None):
    """Check what lrsearch and Optuna read of a study; return the number of lost attempts."""
    result = result_of(folder, study, storage)
    assert [t.index for t in result.trials] == list(range(trials))
    running = optuna_trials(folder, study, storage)
    assert "RUNNING" not in {t.state.name for t in running}
    ended = [t.user_attrs["lrsearch"]["index"] for t in running if "lrsearch" in t.user_attrs]
    assert sorted(ended) == list(range(trials))
    lost = sum("lrsearch.lost" in t.user_attrs for t in running)
    assert sum(t.retries for t in result.trials) == lost
    return lost


def essence(result):
    """Return the parts of a result that do not depend on the clock."""
    trials = []
    for trial in result.trials:
        record = [encode(o.thin()) for o in trial.outcomes]
        for outcome in record:
            del outcome["seconds"], outcome["probing"], outcome["retries"]
        trials.append((trial.index, trial.schedule, json.dumps(record, sort_keys=True)))
    return trials, result.comparison


def _start(words, fresh):
    if fresh:
        return subprocess.Popen(
            [sys.executable, "-m", "lrsearch", "tune", *words, "--quiet"], stdout=sys.stderr
        ).pid
    child = os.fork()
    if child:
        return child
    sys.stdout = sys.stderr  # stdout is for the result of the parent
    os._exit(main(["tune", *words, "--quiet"]))


def _warm_up(words):
    """Import what every search would import, by running a search in another folder."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as elsewhere, contextlib.redirect_stdout(sys.stderr):
        os.chdir(elsewhere)
        untracked = ["--trials", "12", "--tracking-uri", "none", "--no-compare", "--quiet"]
        assert main(["tune", *words, *untracked]) == 0
        os.chdir(here)


def _parent(words, *, kills, alive, between, seed, signal=signal.SIGKILL, fresh=False):
    if not fresh:
        _warm_up(words)
    drawn, children, codes, found = random.Random(seed), [], [], 0
    for _ in range(kills):
        ended = {c: os.waitpid(c, os.WNOHANG) for c in children}
        codes += [status for child, (done, status) in ended.items() if done == child]
        children = [c for c in children if ended[c] == (0, 0)]
        while len(children) < alive:
            children.append(_start(words, fresh))
        time.sleep(drawn.uniform(*between))
        victim = children.pop(drawn.randrange(len(children)))
        done, status = os.waitpid(victim, os.WNOHANG)
        if done:
            codes.append(status)
            continue
        found += 1
        os.kill(victim, signal)
        status = os.waitpid(victim, 0)[1]
        codes += [] if signal else [status]
    codes += [os.waitpid(child, 0)[1] for child in children]
    codes.append(os.waitpid(_start(words, fresh), 0)[1])
    print(json.dumps([found, max(map(abs, map(os.waitstatus_to_exitcode, codes)))]))


if __name__ == "__main__":
    words, how = json.loads(sys.argv[1])
    _parent(words, **how)
