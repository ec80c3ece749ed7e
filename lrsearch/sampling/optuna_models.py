"""Optuna's samplers as pure functions.

Optuna's samplers keep hidden state (TPE holds generators), so a resumed search would differ from
one without interruption. Therefore each ask builds a new sampler
from (study seed, trial index) over a mirror of the study in memory. The mirror is a cache: it is
updated to the given history, and equals a mirror made from that history alone.

A model that does not see a failed trial proposes the same point again. Therefore a failed trial
gets the worst value so far, as in "floor padding" (Wakabayashi et al. 2022, npj Computational
Materials 8, 180). The search that retries the trial replaces this value by the true one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import optuna
import threadpoolctl
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState, create_trial

from lrsearch.distributions import distributions
from lrsearch.sampling.sampler import History, Problem, Proposal, model_value
from lrsearch.sampling.sequences import QuasiRandom
from lrsearch.seeding import SAMPLER, stream_seed

#: Number of known outcomes before a model is used; the first points fill the space evenly.
STARTUP = 10

#: A function that makes a sampler of Optuna from a seed.
Make = Callable[[int], BaseSampler]


class OptunaModel:
    """A sampler of Optuna with lrsearch's interface.

    Args:
        problem: the problem.
        make: function that makes a new sampler for each ask.
    """

    def __init__(self, problem: Problem, make: Make) -> None:
        self._problem, self._make = problem, make
        self._distributions = distributions(problem.space)
        self._start = QuasiRandom(problem)
        self._mirror = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(), sampler=optuna.samplers.RandomSampler(0)
        )
        self._points = self._seen = 0
        self._worst: float | None = None
        self._diverged: list[int] = []  # trials whose price is not known yet
        self._failed: list[int] = []
        self._threads: threadpoolctl.ThreadpoolController | None = None

    @property
    def independent(self) -> bool:
        """True if the space has no free field."""
        return not self._distributions

    def ask(self, index: int, history: History) -> Proposal:
        """Propose the point of a trial; see `lrsearch.sampling.sampler.Sampler`."""
        if self.independent:
            return Proposal(point={})
        self._catch_up(history)
        complete = self._mirror.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < STARTUP:
            return self._start.ask(index, history)
        self._mirror.sampler = self._make(stream_seed(self._problem.seed, SAMPLER, index))
        # With matrices of a few hundred rows, a second thread costs more than it gains.
        threads = self._threads or threadpoolctl.ThreadpoolController()
        with threads.limit(limits=1):
            point = dict(self._mirror.ask(self._distributions).params)
        if self._threads is None:  # all libraries are loaded now
            self._threads = threadpoolctl.ThreadpoolController()
        self._points += 1
        return Proposal(point=point)

    def _catch_up(self, history: History) -> None:
        """Update the mirror to a history, trial by trial."""
        for point in history.points[self._points :]:
            if point is None:
                self._mirror.add_trial(create_trial(state=TrialState.FAIL))
            else:
                running = create_trial(
                    state=TrialState.RUNNING,
                    params=dict(point),
                    distributions=self._distributions,
                )
                self._mirror.add_trial(running)
        self._points = len(history.points)
        while self._seen in history.ended:
            self._reveal(self._seen, history)
            self._seen += 1

    def _reveal(self, index: int, history: History) -> None:
        """Add one outcome to the mirror."""
        trial = history.ended[index]
        if history.points[index] is not None:
            value = trial.estimate
            if value is not None:
                self._worst = max(value, -math.inf if self._worst is None else self._worst)
                self._tell(index, value)
            elif trial.state == "diverged":
                self._diverged.append(index)
            elif trial.state == "failed":
                self._failed.append(index)
            else:
                self._mirror.tell(index, state=TrialState.FAIL)
        untrained = self._problem.untrained
        self._price(self._diverged, self._worst if untrained is None else untrained)
        self._price(self._failed, self._worst)

    def _price(self, indices: list[int], price: float | None) -> None:
        """Add trials without a value to the mirror, as soon as there is a value for them."""
        if price is not None:
            for index in indices:
                self._tell(index, price)
            indices.clear()

    def _tell(self, index: int, value: float) -> None:
        self._mirror.tell(index, model_value(value, positive=self._problem.positive))


def tpe(problem: Problem) -> OptunaModel:
    """Make `tpe`: Optuna's multivariate tree-structured Parzen estimator."""
    return OptunaModel(problem, _tpe(problem))


def _tpe(problem: Problem) -> Make:
    def make(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=seed,
                n_startup_trials=STARTUP,
                multivariate=True,
                constant_liar=problem.parallel,
            )

    return make
