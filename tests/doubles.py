"""Test doubles, and functions that wait. None of them loads torch.

They are objectives with known values, a stream of given runs, a tracker and a callback that record
their calls, and processes of lrsearch's command line. Doubles that need torch are in
`tests.torch_doubles`.
"""

import dataclasses
import math
import os
import select
import socket
import subprocess
import sys
import time

from lrsearch.contract import Probes, Setup
from lrsearch.errors import RunStopped
from lrsearch.ranges import Range
from lrsearch.run import Run
from lrsearch.search.callbacks import Callback
from lrsearch.search.runner import run_search
from lrsearch.space import Space
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from lrsearch.tracking.tracker import NoTracker

PEAK = Range(low=1e-3, high=1.0, log=True)


def wait_until(condition, seconds=30.0, pause=0.05):
    """Wait until a condition is true.

    Args:
        condition: function that is called until it returns a true value.
        seconds: longest time to wait.
        pause: seconds between two calls.

    Returns:
        The last value of the condition.

    Raises:
        AssertionError: the condition was not true in time; names its position and last value.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            code = condition.__code__
            raise AssertionError(
                f"the condition of {code.co_filename}:{code.co_firstlineno} is still {found!r} "
                f"after {seconds:g} s"
            )
        time.sleep(pause)
    return found


def wait_for_threads(*threads, seconds=60.0):
    """Wait until threads have ended."""
    wait_until(lambda: not [t for t in threads if t.is_alive()], seconds, pause=0.01)


def read_line(stream, seconds=60.0):
    """Return the first line that a process writes to a pipe."""
    wait_until(lambda: select.select([stream], [], [], 0)[0], seconds)
    return stream.readline()


def launch(*words, folder=None, **more):
    """Start lrsearch's command line in a folder, on one thread, with text pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "lrsearch", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


class Bowl:
    """An objective with value 0.1 + (log10 peak + 1.5)² + (first rate)² + noise of the seed.

    Peaks above `limit` diverge. With several slots, runs end in a scrambled order.
    """

    def __init__(self, *, slots=1, limit=0.5, untrained=None, version=1, stop_after=None):
        self.setup = Setup(
            name="bowl",
            unit="points",
            steps=20,
            entries={"peak": PEAK},
            positive=True,
            untrained=untrained,
            slots=slots,
            version=version,
        )
        self.limit = limit
        self.stop_after = stop_after
        self.yielded = 0
        self.seeds = []

    def evaluate(self, runs):
        held = []
        while True:
            held += runs.take(self.setup.slots - len(held))
            if not held:
                return
            if self.stop_after is not None and self.yielded >= self.stop_after:
                raise KeyboardInterrupt
            run = held.pop((7 * self.yielded) % len(held))
            self.yielded += 1
            self.seeds.append((run.trial, run.replicate, run.seed))
            yield self.outcome(run)

    def outcome(self, run):
        peak = float(run.plan.lr.max())
        if peak > self.limit:
            try:
                run.report(0, math.inf)
            except RunStopped as stop:
                return run.end(stop.state, reason=str(stop))
        run.report(0, 1.0)
        return run.end("finished", self.value(run))

    def value(self, run):
        noise = 1e-3 * (run.seed % 7)
        peak, first = float(run.plan.lr.max()), float(run.plan.lr[0])
        return 0.1 + (math.log10(peak) + 1.5) ** 2 + first**2 + noise

    def optimum(self, budget):
        return None


class Expensive(Bowl):
    """A bowl whose runs report that they took three seconds."""

    def outcome(self, run):
        return dataclasses.replace(super().outcome(run), seconds=3.0)


class Given:
    """A stream of given runs."""

    def __init__(self, *runs, slots=1, probes=None):
        self.runs, self.slots = list(runs), slots
        self.probes = Probes() if probes is None else probes

    def take(self, room):
        taken, self.runs = self.runs[:room], self.runs[room:]
        return taken


def runs_of(objective, *schedules, **more):
    """Return one run per schedule, with the default budget and the momentum of an objective."""
    setup = objective.setup
    plans = [s.with_momentum(setup.momentum).plan(setup.steps, setup.batch) for s in schedules]
    return [Run(trial=i, replicate=0, seed=i, plan=p, **more) for i, p in enumerate(plans)]


def answer(objective, *schedules, **more):
    """Return the outcomes of an objective for some schedules."""
    return list(objective.evaluate(Given(*runs_of(objective, *schedules, **more))))


class Memory(NoTracker):
    """A tracker that records its calls."""

    def __init__(self):
        self.facts, self.trials, self.ends = None, [], []

    def start(self, facts, trials):
        self.facts, self.earlier = facts, tuple(trials)

    def trial_ended(self, trial):
        self.trials.append(trial)

    def finish(self, result, state):
        self.ends.append((result, state))


class Watch(Callback):
    """A callback that records its calls."""

    def __init__(self):
        self.estimates, self.progress, self.offers, self.waits = [], [], [], []

    def comparing(self, estimate, seconds, total, done):
        self.estimates.append((estimate, total, done))

    def compared_runs(self, done):
        self.progress.append(done)

    def offered(self, offers):
        self.offers.append(offers)

    def waiting(self, what):
        self.waits.append(what)


def search(objective, folder, *, space=None, tracker=None, callback=None, compare=None, **asked):
    """Run a search in a folder, or in the `storage` that is given."""
    space = space or Space.load("cosine")
    asked.setdefault("storage", folder and str(folder / "x.journal"))
    request = Settings(space=space, study="s", **asked)
    resolved = resolve(request, objective.setup)
    return run_search(resolved, objective, tracker or NoTracker(), callback or Callback(), compare)


def asked(result):
    """Return index, schedule, state and value of every trial."""
    return [(t.index, t.schedule, t.state, t.value) for t in result.trials]


def free_port():
    """Return a port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
