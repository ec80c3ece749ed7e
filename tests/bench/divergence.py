"""The divergence rule: false alarms on stationary losses, and the runs that it stops.

    python -m tests.bench.divergence

The losses without a trend are means of B squared normals. The runs that diverge are those of
built-in tasks, at peaks above the range that they search, which the rule of version 1 stops: the
median over a window exceeds twice the first report or the loss of an untrained model.
"""

import dataclasses

import numpy as np
import torch

from lrsearch import Schedule
from lrsearch.curves import round_half_up
from lrsearch.divergence import divergence
from lrsearch.objectives.builtin import make
from lrsearch.run import Run
from lrsearch.training.population import Population
from tests.bench.machine import record
from tests.doubles import Given

BATCHES, LENGTHS, DRAWS = (1, 2, 4, 16, 64, 256), (100, 500, 700, 1000, 5000), 4000
#: Steps of the runs of each task.
TASKS = {"digits": 500, "digits-cnn": 200, "linear-regression": 500, "two-moons": 500}
SHAPES = ({}, {"warmup": 0.1}, {"decay": "polynomial"}, {"warmup": 0.3, "decay": "root"})


def version_1(losses, updates, untrained):
    """Apply the rule of version 1."""
    values, window = np.asarray(losses), max(10, round_half_up(0.02 * updates))
    broken = np.flatnonzero(~np.isfinite(values))
    first, healthy = (int(broken[0]), values[: broken[0]]) if len(broken) else (None, values)
    if len(healthy) < window or healthy.min() < 0:
        return first
    limit = 2 * max(healthy[0], untrained or 0)
    windows = np.lib.stride_tricks.sliding_window_view(healthy, window)
    high = np.flatnonzero(np.median(windows, axis=1) > limit)
    return int(high[0]) + window - 1 if len(high) else first


def false_alarms(rule, untrained):
    """Return the highest share of stopped runs, and that of each batch and length, in percent."""
    found = {}
    for batch in BATCHES:
        for updates in LENGTHS:
            rng = np.random.default_rng([batch, updates])
            draws = DRAWS if updates < 5000 else DRAWS // 4
            losses = rng.chisquare(batch, (draws, updates)) / batch
            stopped = sum(rule(curve, updates, untrained) is not None for curve in losses)
            found[f"batch {batch}, {updates} reports"] = round(100 * stopped / draws, 2)
    return {"highest": max(found.values()), **{k: v for k, v in found.items() if v}}


def curves_of(name):
    """Train runs at peaks from the top of the range to far above it; return their losses."""
    task, updates = make(name).task, TASKS[name]
    peaks = task.peak[1] * np.geomspace(1, 1e4, 40)
    runs = []
    for shape in SHAPES:
        for peak in peaks:
            schedule = Schedule(peak=float(peak), **shape).with_momentum(task.momentum)
            plan = schedule.plan(updates, task.batch)
            i = len(runs)
            runs.append(Run(trial=i, replicate=0, seed=i % 4, plan=plan, stops=False))
    quick = dataclasses.replace(task, evaluations=1)
    for outcome in Population(quick, 16, torch.device("cpu")).train(Given(*runs)):
        trace = outcome.traces.get("loss")
        losses = list(trace.values) if trace else []
        if outcome.state == "diverged" and outcome.updates == len(losses):
            losses.append(float("nan"))  # a trace holds the finite losses
        yield losses, updates, task.untrained


def power():
    """Return how many diverged runs are stopped, and with which delay in percent of the run."""
    found = {}
    for name in TASKS:
        delays, missed, unknown, total, new = [], 0, 0, 0, 0
        for losses, updates, untrained in curves_of(name):
            then = version_1(losses, updates, untrained)
            now = divergence(losses, updates, untrained)
            if then is None:
                new += now is not None
                continue
            total += 1
            unknown += divergence(losses, updates) is not None
            if now is None:
                missed += 1
            else:
                delays.append(100 * (now - then) / updates)
        found[name] = {
            "runs that diverge": total,
            "of these not stopped": missed,
            "stopped, but not by version 1": new,
            "stopped without knowing the untrained loss": unknown,
            "median delay": round(float(np.median(delays)), 3),
            "longest delay": round(max(delays), 3),
        }
    return found


def measure():
    torch.set_num_threads(1)
    return {
        "false alarms in percent, untrained loss unknown": false_alarms(divergence, None),
        "false alarms in percent, untrained loss known": false_alarms(divergence, 1.0),
        "false alarms in percent, version 1": false_alarms(version_1, None),
        "power, delays in percent of the run": power(),
    }


if __name__ == "__main__":
    record("divergence", measure())
