"""Fast objectives for tests that kill processes; each schedule has a different value."""

import asyncio
import math
import multiprocessing
import os
import signal
import sys
import time

import lrsearch


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, positive=True, unit="points")
def nap(run):
    """Sleep briefly, so that kills hit running trials; high peaks diverge."""
    time.sleep(0.05)
    return follow(run)


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, positive=True, unit="points")
def wink(run):
    """Sleep so briefly that a comparison takes only a few seconds."""
    time.sleep(0.002)
    return follow(run)


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, positive=True, unit="points")
def instant(run):
    """Return at once, so that a search makes few system calls."""
    return follow(run)


def follow(run):
    peak = float(run.plan.lr.max())
    for t, rate in enumerate(run.plan.lr):
        run.report(t, math.inf if peak > 0.5 else 1.0 + rate)
    return 0.1 + (math.log10(peak) + 1.5) ** 2 + 1e-3 * (run.seed % 7)


@lrsearch.objective(peak=(1e-3, 1.0), steps=20)
def killer(run):
    """Die at high peaks, as if the kernel had run out of memory."""
    if run.plan.lr.max() > 0.2:
        os.kill(os.getpid(), signal.SIGKILL)
    return follow(run)


@lrsearch.objective(peak=(1e-3, 1.0), steps=5, unit="points")
def odd(run):
    """Do what the variable `ODD` names, from trial 1 on."""
    if run.trial == 0:
        return 1.0
    return ODD[os.environ["ODD"]](run)


def leave_a_child(run):
    # A fork keeps the worker's pipe open. JAX, in the process of the tests, warns about forks.
    how = "fork" if "LRSEARCH_WORKER" in os.environ else "spawn"
    multiprocessing.get_context(how).Process(target=time.sleep, args=(600,)).start()
    return 1.0


def signal_twice(number):
    try:
        os.kill(os.getpid(), number)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), number)
        time.sleep(60)


def report(*losses):
    def train(run):
        for t, loss in enumerate(losses):
            run.report(t, loss)
        return 1.0

    return train


def throw(error):
    raise error


def change_folder(run):
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    return 1.0


def swallow(run):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        return 1.0


def escape(run):
    """Start a process outside the process group, and die."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)
    os._exit(7)


ODD = {
    "changes the folder": change_folder,
    "swallows": swallow,
    "cancelled": lambda run: throw(asyncio.CancelledError()),
    "generator exit": lambda run: throw(GeneratorExit()),
    "escapes": escape,
    "nan": lambda run: math.nan,
    "inf": lambda run: math.inf,
    "nan loss": report(1.0, math.nan),
    "inf loss": report(1.0, -math.inf),
    "nothing": lambda run: None,
    "text": lambda run: "0.5",
    "raises": lambda run: throw(ValueError("x" * 10_000_000)),
    "exits": lambda run: sys.exit(0),
    "memory": lambda run: throw(MemoryError()),
    "killed": lambda run: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": lambda run: time.sleep(600),
    "shouts": lambda run: print("x" * 10_000_000) or 1.0,
    "leaves a child": leave_a_child,
    "SIGINT": lambda run: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60),
    "SIGTERM": lambda run: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60),
    "SIGINT twice": lambda run: signal_twice(signal.SIGINT),
    "SIGTERM twice": lambda run: signal_twice(signal.SIGTERM),
}
