"""Objectives for processes that are killed: quick, each schedule with a value of its own."""

import math
import os
import signal
import time

import lrsearch


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, positive=True, unit="points")
def nap(run):
    """Sleeps a little, so that a kill finds it at work; high peaks diverge."""
    time.sleep(0.05)
    return follow(run)


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, positive=True, unit="points")
def wink(run):
    """Hardly sleeps: a confirmation of it takes a few seconds."""
    time.sleep(0.002)
    return follow(run)


def follow(run):
    peak = float(run.plan.lr.max())
    for t, rate in enumerate(run.plan.lr):
        run.report(t, math.inf if peak > 0.5 else 1.0 + rate)
    return 0.1 + (math.log10(peak) + 1.5) ** 2 + 1e-3 * (run.seed % 7)


@lrsearch.objective(peak=(1e-3, 1.0), steps=20)
def killer(run):
    """Is killed at high peaks, as by a kernel that is out of memory."""
    if run.plan.lr.max() > 0.2:
        os.kill(os.getpid(), signal.SIGKILL)
    return follow(run)
