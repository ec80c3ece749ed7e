"""Stand-ins for tests: an objective with a known value, and trackers that remember."""

import math
import socket

from lrsearch.contract import Setup
from lrsearch.errors import RunStopped
from lrsearch.ranges import Range
from lrsearch.search.callbacks import NoCallback
from lrsearch.search.runner import run_search
from lrsearch.space import Space
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from lrsearch.tracking.tracker import NoTracker

PEAK = Range(low=1e-3, high=1.0, log=True)


class Bowl:
    """Value 0.1 + (log10 peak + 1.5)² + (first rate)²; peaks above `limit` diverge.

    With several slots it holds that many runs and yields them in a scrambled order.
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


class Memory(NoTracker):
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.facts, self.trials, self.ends = None, [], []

    def start(self, facts, trials):
        self.facts, self.earlier = facts, tuple(trials)

    def trial_ended(self, trial):
        self.trials.append(trial)

    def finish(self, result, state):
        self.ends.append((result, state))


def search(objective, folder, *, space=None, tracker=None, callback=None, compare=None, **asked):
    """Runs a search in a folder, or in the `storage` that is named."""
    space = space or Space.load("cosine")
    asked.setdefault("storage", folder and str(folder / "x.journal"))
    request = Settings(space=space, study="s", **asked)
    resolved = resolve(request, objective.setup)
    return run_search(
        resolved, objective, tracker or NoTracker(), callback or NoCallback(), compare
    )


def asked(result):
    """Every trial's schedule and state, by index."""
    return [(t.index, t.schedule, t.state, t.value) for t in result.trials]


def free_port():
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
