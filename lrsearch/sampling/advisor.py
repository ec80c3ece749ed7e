"""Which schedule to try next, as a pure function of the study's seed and of past outcomes.

Samplers keep hidden state (a Gaussian process caches kernels, TPE and QMC hold generators), and a
search that is resumed would drift from one that was not. So each ask builds a fresh sampler from
(study seed, trial index) over a mirror of the study in memory, in which trial n sees exactly the
outcomes of trials 0 … n-1-W, the rest counting as running. Slots, workers and interruptions then
never change what is asked.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import optuna
import threadpoolctl
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import TrialState, create_trial
from scipy.stats import qmc

from lrsearch.distributions import distributions
from lrsearch.ranges import Value
from lrsearch.result import Trial
from lrsearch.seeding import stream, stream_seed
from lrsearch.space import Space

__all__ = ["Advisor"]

#: `auto` leaves the Gaussian process for TPE from this trial on: its cost grows with n³, and TPE
#: with so many outcomes is as good (measured on LR-ref).
GP_TRIALS = 200
#: Trials with a known outcome before a model is asked; until then points fill the space evenly.
STARTUP = 10


class Advisor:
    """Proposes the point of every trial, in the order of their index.

    Args:
        space: with every entry resolved.
        first: points of the first trials; None is a schedule outside the space, of which the
            sampler learns nothing.
        sampler: one of `lrsearch.study.request.SAMPLERS`.
        seed: the study's.
        window: W.
        positive: whether to model the logarithm of the value.
        exact: whether values carry no noise.
        untrained: the value that stands for a diverged trial; None is the worst finite one among
            the outcomes that the trial may see.
    """

    def __init__(
        self,
        space: Space,
        *,
        first: Sequence[Mapping[str, Value] | None],
        sampler: str,
        seed: int,
        window: int,
        positive: bool,
        exact: bool,
        untrained: float | None,
    ) -> None:
        self._space = space
        self._first = tuple(first)
        self._sampler = sampler
        self._seed = seed
        self._window = window
        self._positive = positive
        self._exact = exact
        self._untrained = untrained
        self._distributions = distributions(space)
        self._mirror = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(), sampler=optuna.samplers.RandomSampler(0)
        )
        self._ended: dict[int, Trial] = {}
        self._seen = 0
        self._asked = 0
        self._worst: float | None = None
        self._unpriced: list[int] = []
        self._threads: threadpoolctl.ThreadpoolController | None = None

    @property
    def independent(self) -> bool:
        """Whether points depend on their index alone, so that any may be asked at any time."""
        return self._sampler in ("qmc", "random") or not self._distributions

    def ready(self, index: int) -> bool:
        """Whether every outcome that trial `index` must see is known."""
        if self.independent:
            return True
        return all(i in self._ended for i in range(self._seen, index - self._window))

    def tell(self, trial: Trial) -> None:
        """Takes an ended trial; trials see it only when their turn comes."""
        self._ended[trial.index] = trial

    def penalty(self, trial: Trial) -> float | None:
        """The finite value that stands for a diverged trial, or None where nothing is known."""
        if self._untrained is not None:
            return self._untrained
        end = trial.index - self._window  # so that it hangs on no order in which trials ended
        below = [t.value for i, t in self._ended.items() if i < end and t.value is not None]
        return max(below, default=None)

    def ask(self, index: int, known: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """The point of trial `index`, which must be the next one.

        Args:
            index: one more than at the last ask.
            known: its point, where it was asked for in an earlier session.

        Returns:
            the point; empty for a schedule outside the space.
        """
        if index != self._asked:
            raise ValueError(f"trial {index} was asked for out of turn, after {self._asked - 1}")
        self._asked += 1
        if self.independent:
            return dict(known) if known is not None else self._unseen_point(index)
        self._reveal(index - self._window)
        if self._is_outside(index):
            self._mirror.add_trial(create_trial(state=TrialState.FAIL))
            return {}
        if index < len(self._first) or (known is None and not self._informed(index)):
            known = self._unseen_point(index)
        if known is None:
            self._mirror.sampler = self._model(index)
            # Matrices of a few hundred rows: a second thread costs more than it brings.
            threads = self._threads or threadpoolctl.ThreadpoolController()
            with threads.limit(limits=1):
                point = dict(self._mirror.ask(self._distributions).params)
            if self._threads is None:  # by now every library is loaded
                self._threads = threadpoolctl.ThreadpoolController()
            return point
        self._mirror.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(known),
                distributions=self._distributions,
            )
        )
        return dict(known)

    def _is_outside(self, index: int) -> bool:
        return index < len(self._first) and self._first[index] is None

    def _informed(self, index: int) -> bool:
        complete = (TrialState.COMPLETE,)
        return (
            index >= len(self._first) and len(self._mirror.get_trials(False, complete)) >= STARTUP
        )

    def _unseen_point(self, index: int) -> dict[str, Value]:
        """A point that no outcome decides: the first are given, then the sampler's sequence."""
        if index < len(self._first):
            return dict(self._first[index] or {})
        names = list(self._space.free)
        if self._sampler == "random":
            unit = stream(self._seed, "point", index).random(len(names))
        else:
            sobol = qmc.Sobol(len(names), rng=stream(self._seed, "sobol"))
            unit = sobol.fast_forward(index).random(1)[0]
        return self._space.at(dict(zip(names, unit.tolist(), strict=True)))

    def _reveal(self, end: int) -> None:
        """Shows the mirror the outcomes of all trials before `end`."""
        for index in range(self._seen, end):
            trial = self._ended[index]
            if self._is_outside(index):
                continue
            value = trial.estimate
            if value is not None:
                self._worst = max(value, -math.inf if self._worst is None else self._worst)
                self._tell(index, value)
            elif trial.state == "diverged":
                self._unpriced.append(index)
            else:
                self._mirror.tell(index, state=TrialState.FAIL)
        self._seen = max(self._seen, end)
        penalty = self._worst if self._untrained is None else self._untrained
        if penalty is not None:
            for index in self._unpriced:
                self._tell(index, penalty)
            self._unpriced = []

    def _tell(self, index: int, value: float) -> None:
        # Values of positive objectives span decades, which their logarithm makes even.
        model = math.log(max(value, 1e-300)) if self._positive else value
        self._mirror.tell(index, model)

    def _model(self, index: int) -> BaseSampler:
        seed = stream_seed(self._seed, "sampler", index)
        gaussian = self._sampler == "gp" or (self._sampler == "auto" and index < GP_TRIALS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if gaussian:
                return GPSampler(
                    seed=seed, n_startup_trials=STARTUP, deterministic_objective=self._exact
                )
            return TPESampler(
                seed=seed,
                n_startup_trials=STARTUP,
                multivariate=True,
                constant_liar=self._window > 0,
            )
