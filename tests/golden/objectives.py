"""Objectives of the golden studies: exact arithmetic, so that every machine gets the same bits."""

import math
import os
import signal

import lrsearch

WORDS = {"peak": (1e-3, 1.0), "steps": 20, "unit": "points", "positive": True}


def value(run):
    """A bowl in the peak, with noise of the schedule's and the seed's own."""
    peak = float(run.plan.lr.max())
    noise = (run.seed % 1009 * int(1e6 * peak)) % 97
    return 0.125 + (4.0 * peak - 0.5) * (4.0 * peak - 0.5) + 2.0**-16 * noise


def follow(run):
    peak = float(run.plan.lr.max())
    for t, (rate, _) in enumerate(run.plan):
        run.report(t, math.inf if peak > 0.5 else 1.0 + rate)
    return value(run)


@lrsearch.objective(name="mixed", momentum=0.9, **WORDS)
def mixed(run):
    """Fails, diverges or finishes, depending on the peak."""
    if 0.02 < run.plan.lr.max() < 0.03:
        raise ValueError("no batch is left")
    return follow(run)


@lrsearch.objective(name="plain", **WORDS)
def plain(run):
    return follow(run)


@lrsearch.objective(name="killed", **WORDS)
def killed(run):
    """Ends its process in trial 4, as a kernel does that is out of memory, if it is asked to."""
    if run.trial == 4 and os.environ.get("GOLDEN_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    return follow(run)
