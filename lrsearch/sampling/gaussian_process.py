"""`gp`: Bayesian optimization with a Gaussian process that is asked in blocks.

B trials form a block. The process is made once per block, from the outcomes below its first trial
minus the window W, and each trial of the block adds its point. So a trial depends on the seed, its
index and outcomes before n-W only, and a resumed search repeats the rows of its block.

A search with K runs in flight does not know the outcomes of the last 2K trials anyway, so a block
of K/4 trials loses nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import threadpoolctl
from scipy import optimize

from lrsearch.outcome import Trial
from lrsearch.sampling.expected_improvement import log_improvement
from lrsearch.sampling.sampler import History, Problem, Proposal
from lrsearch.sampling.sequences import QuasiRandom
from lrsearch.sampling.surrogate import Hyperparameters, Posterior, fit
from lrsearch.sampling.unit_cube import UnitCube
from lrsearch.seeding import SAMPLER, stream

#: Number of known outcomes before the process is used; the first points fill the space evenly.
STARTUP = 5
#: Hyperparameters are fitted again when the number of outcomes has grown by this factor.
GROWTH = 1.15
#: Slots above which blocks are large, and their size.
MANY_SLOTS, LARGE_BLOCK = 64, 64
#: Number of the newest outcomes that are used, so that the cost of a trial does not grow without
#: limit; with many slots fewer, and this number of the newest pending points.
NEWEST, NEWEST_OF_MANY, NEWEST_PENDING = 512, 256, 64
#: The classes of candidates, in turn: None for the whole space, or a distance from the best point.
CLASSES = (None, 0.2, None, 0.1, 0.03)
#: Number of candidates of a class; the best few climb this number of steps of L-BFGS.
CANDIDATES, CLIMBERS, STEPS = 512, 2, 8
#: Value below which positive values are equal.
SMALLEST = 1e-300
#: Distance below which two points are the same.
SAME = 1e-9


@dataclass
class _BlockModel:
    """The model of a block of trials.

    Attributes:
        start: index of its first trial.
        posterior: the process given the known outcomes and all points before the next trial.
        best: value that is to be improved.
        centre: the point with this value.
        added: index of the next trial.
    """

    start: int
    posterior: Posterior
    best: float
    centre: np.ndarray
    added: int


class BlockProcess:
    """The sampler.

    Args:
        problem: the problem.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._cube = problem, UnitCube(problem.space)
        self._start = QuasiRandom(problem)
        slots = (problem.window + 1) // 2 or 1
        self._many = slots > MANY_SLOTS
        self._size = LARGE_BLOCK if self._many else max(1, min(8, slots // 4))
        self._newest = NEWEST_OF_MANY if self._many else NEWEST
        self._vectors: list[np.ndarray | None] = []
        self._chain: list[tuple[int, Hyperparameters]] = []
        self._block: _BlockModel | None = None
        self._threads: threadpoolctl.ThreadpoolController | None = None

    @property
    def independent(self) -> bool:
        """True if the space has no free field."""
        return not self._problem.space.free

    def ask(self, index: int, history: History) -> Proposal:
        """Propose the point of a trial; see `lrsearch.sampling.sampler.Sampler`."""
        if self.independent:
            return Proposal(point={})
        for point in history.points[len(self._vectors) :]:
            self._vectors.append(None if point is None else self._cube.encode(point))
        start = index - index % self._size
        # With matrices of a few hundred rows, a second thread costs more than it gains.
        self._threads = self._threads or threadpoolctl.ThreadpoolController()
        with self._threads.limit(limits=1):
            if self._block is None or self._block.start != start:
                self._block = self._begin(start, history)
            if self._block is None:
                return self._start.ask(index, history)
            block = self._block
            for earlier in range(block.added, index):
                vector = self._vectors[earlier]
                if vector is not None:
                    block.posterior.add(vector)
            block.added = index
            return Proposal(point=self._cube.decode(self._choose(index, block)))

    # --- The model ----------------------------------------------------------------------------

    def _begin(self, start: int, history: History) -> _BlockModel | None:
        """Return the model of a block, or None if too few outcomes are known."""
        end = max(0, start - self._problem.window)
        rows = [i for i in range(end) if i in history.ended and self._vectors[i] is not None]
        finished = sum(history.ended[i].estimate is not None for i in rows)
        if finished < STARTUP:
            return None
        of = self._hyperparameters(rows, history)
        x, y = self._table(rows[-self._newest :], history)
        pending = [v for v in self._vectors[end:start] if v is not None]
        pending = pending[-NEWEST_PENDING:] if self._many else pending
        posterior = Posterior(x, y, of, np.array(pending).reshape(-1, self._cube.dimensions))
        believed = y if self._problem.exact else posterior.mean(x)
        at = int(np.argmin(believed))
        return _BlockModel(start, posterior, float(believed[at]), x[at], start)

    def _hyperparameters(self, rows: list[int], history: History) -> Hyperparameters:
        """Return hyperparameters from a chain of fits, each started at the one before."""
        size, exact = STARTUP, self._problem.exact
        for known, _ in self._chain:
            size = max(known + 1, math.ceil(GROWTH * known))
        while size <= len(rows):
            x, y = self._table(rows[:size][-self._newest :], history)
            before = self._chain[-1][1] if self._chain else None
            start = before or Hyperparameters.usual(self._cube.dimensions, exact=exact)
            self._chain.append((size, fit(x, y, start, exact=exact)))
            size = max(size + 1, math.ceil(GROWTH * size))
        fitting = [of for known, of in self._chain if known <= len(rows)]
        return (
            fitting[-1] if fitting else Hyperparameters.usual(self._cube.dimensions, exact=exact)
        )

    def _table(self, rows: list[int], history: History) -> tuple[np.ndarray, np.ndarray]:
        """Return the points and the values of some trials, for the process.

        Small differences between good schedules must count beside large ones between bad ones. So
        the process models the logarithm of positive exact values, else the logarithm of the
        distance from the best value (measured: each is better there). A diverged trial has the
        untrained value, else the worst one; a failed one has the worst, so that it is avoided.
        """
        trials = [history.ended[i] for i in rows]
        known = [t.estimate for t in trials if t.estimate is not None]
        worst = max(known, default=1.0)
        untrained = self._problem.untrained
        lost = worst if untrained is None else untrained
        values = np.array([_value(trial, worst, lost) for trial in trials])
        if self._problem.positive and self._problem.exact:
            y = np.log(np.maximum(values, SMALLEST))
        else:
            values = values / (np.abs(values).max() or 1.0)  # no overflow below
            best = values.min()
            spread = np.median(values) - best or values.max() - best or 1.0
            y = np.log((values - best) / spread + 0.1)
        y = (y - y.mean()) / (y.std() or 1.0)
        return np.array([self._vectors[i] for i in rows]), y

    # --- The next point -----------------------------------------------------------------------

    def _choose(self, index: int, block: _BlockModel) -> np.ndarray:
        """Return the vector of a trial: of the candidates of its class, the most promising."""
        rng = stream(self._problem.seed, SAMPLER, index)
        radius = CLASSES[index % len(CLASSES)]
        if radius is None:
            x = self._cube.draw(rng, CANDIDATES)
        else:
            x = self._cube.draw_near(rng, CANDIDATES, block.centre, radius)
        if not self._cube.smooth.any():  # points may have been asked before
            new = self._is_new(x, block)
            if not new.any():
                x = self._cube.draw(rng, CANDIDATES)
                new = self._is_new(x, block)
            x = x[new] if new.any() else x
        score = log_improvement(*block.posterior.predict(x), block.best)[0]
        if self._many or not self._cube.smooth.any():
            return np.asarray(x[int(np.argmax(score))])
        top = np.argsort(-score, kind="stable")[:CLIMBERS]
        climbed = self._cube.snap(self._climb(x[top], block))
        score = np.r_[
            score[top], log_improvement(*block.posterior.predict(climbed), block.best)[0]
        ]
        both = np.concatenate([x[top], climbed])
        score[~self._is_new(both, block)] = -np.inf
        return np.asarray(both[int(np.argmax(score))])

    def _climb(self, x: np.ndarray, block: _BlockModel) -> np.ndarray:
        """Return points with a larger expected improvement, by a few steps from each."""
        smooth = self._cube.smooth

        def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
            at = x.copy()
            at[:, smooth] = free.reshape(len(x), -1)
            mean, deviation, mean_slope, slope = block.posterior.slopes(at)
            score, by_mean, by_deviation = log_improvement(mean, deviation, block.best)
            gradient = by_mean[:, None] * mean_slope + by_deviation[:, None] * slope
            return -float(score.sum()), -gradient[:, smooth].ravel()

        first = x[:, smooth].ravel()
        found = optimize.minimize(
            loss,
            first,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * len(first),
            options={"maxiter": STEPS},
        ).x
        at = x.copy()
        at[:, smooth] = np.clip(found.reshape(len(x), -1), 0.0, 1.0)
        return at

    def _is_new(self, x: np.ndarray, block: _BlockModel) -> np.ndarray:
        """Return which points have not been asked before, shape `[m]`."""
        known = block.posterior.points
        apart = np.abs(x[:, None, :] - known[None, :, :]).max(axis=2).min(axis=1)
        return np.asarray(apart > SAME)


def _value(trial: Trial, worst: float, lost: float) -> float:
    if trial.estimate is not None:
        return trial.estimate
    return lost if trial.state == "diverged" else worst
