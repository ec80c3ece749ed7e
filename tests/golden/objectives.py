"""Objectives of the golden studies, with exact arithmetic, so all machines get equal values."""

import math
import os
import signal

import lrsearch

WORDS = {"peak": (1e-3, 1.0), "steps": 20, "unit": "points", "positive": True}


def value(run):
    """Return a parabola in the peak plus noise that depends on the schedule and the seed."""
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
    """Fail, diverge or finish, depending on the peak."""
    if 0.02 < run.plan.lr.max() < 0.03:
        raise ValueError("no batch is left")
    return follow(run)


@lrsearch.objective(name="plain", **WORDS)
def plain(run):
    return follow(run)


@lrsearch.objective(name="killed", **WORDS)
def killed(run):
    """Kill the process in trial 4 if GOLDEN_KILL is set, like a kernel that is out of memory."""
    if run.trial == 4 and os.environ.get("GOLDEN_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    return follow(run)
