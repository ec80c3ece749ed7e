"""Objectives that only sleep, to measure the overhead of a search."""

import time

import lrsearch


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, unit="points", version=2)
def second(run):
    """Sleep for a second."""
    time.sleep(1.0)
    return float(run.plan.lr[0])


@lrsearch.objective(peak=(1e-3, 1.0), steps=20, unit="points")
def moment(run):
    """Sleep for 50 ms."""
    time.sleep(0.05)
    return float(run.plan.lr[0])
