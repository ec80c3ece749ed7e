"""Processes that search one study, and are killed.

Run as a module it is a nursery: a process with one thread that has everything imported, and forks
searches that are at work within milliseconds, so that kills find them there.
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
#: Seconds for which a test that is marked as slow lets a nursery work; its own timeout is longer.
SLOW = 840


def nap(trials, *words):
    """A command line of so many short trials that are begun again however often they are lost."""
    return [f"{STUDY}:nap", "--trials", str(trials), "--max-retries", "1000", *words]


def swarm(folder, words, *, seconds=240, **how):
    """Runs a nursery in a folder.

    Args:
        folder: where the searches run.
        words: of their command line.
        seconds: until it is given up, with all its searches.
        how: `kills`, `alive` processes at a time, seconds `between` kills (low, high), `seed`,
            the `signal` that kills, and whether searches are `fresh` processes: torch does not
            bear to be forked.

    Returns:
        how many kills found their process at work, and the worst exit code of the searches that
        were let be, the one that came last among them.
    """
    command = [sys.executable, "-m", "tests.survival.swarm", json.dumps([words, how])]
    nursery = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(STUDY.parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = nursery.communicate(timeout=seconds)
    finally:
        if nursery.poll() is None:  # and its searches, which nothing else would end
            os.killpg(nursery.pid, signal.SIGKILL)
            nursery.wait(30)
    assert nursery.returncode == 0, err[-3000:]
    assert "Traceback" not in err, err[-3000:]
    return json.loads(out)


def result_of(folder, study, storage=None):
    """The study as lrsearch reads it; `storage` is a database, if it is in one."""
    storage = storage or str(folder / "lrsearch-studies" / f"{study}.journal")
    return api.load(study, storage=storage)


def optuna_trials(folder, study, storage=None):
    """The study's trials as Optuna reads them."""
    if storage is None:
        storage = open_journal(folder / "lrsearch-studies" / f"{study}.journal")
    else:
        storage = optuna.storages.RDBStorage(storage, {"poolclass": sqlalchemy.NullPool})
    return optuna.load_study(study_name=study, storage=storage).trials


def check_every_trial_ended_once(folder, study, trials, storage=None):
    """Checks what lrsearch and Optuna read of a study; returns how many trials were lost."""
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
    """All of a result that does not hang on the clock."""
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
    sys.stdout = sys.stderr  # stdout is the nursery's answer
    os._exit(main(["tune", *words, "--quiet"]))


def _warm_up(words):
    """Imports here what every child would import, by a search of its own elsewhere."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as elsewhere, contextlib.redirect_stdout(sys.stderr):
        os.chdir(elsewhere)
        untracked = ["--trials", "12", "--tracking-uri", "none", "--no-compare", "--quiet"]
        assert main(["tune", *words, *untracked]) == 0
        os.chdir(here)


def _nursery(words, *, kills, alive, between, seed, signal=signal.SIGKILL, fresh=False):
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
    _nursery(words, **how)
