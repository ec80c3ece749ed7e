"""Samplers without a model: independent random points, and a sequence that fills the space."""

from __future__ import annotations

from collections.abc import Sequence

from lrsearch.sampling.sampler import History, Problem, Proposal
from lrsearch.seeding import POINT, SOBOL, stream


class _Sequence:
    """A sampler whose points depend only on their index."""

    independent = True

    def __init__(self, problem: Problem) -> None:
        self._space, self._seed = problem.space, problem.seed
        self._names = list(problem.space.free)

    def ask(self, index: int, history: History) -> Proposal:
        """Propose the point of a trial; see `lrsearch.sampling.sampler.Sampler`."""
        unit = dict(zip(self._names, self._unit(index), strict=True))
        return Proposal(point=self._space.at(unit))

    def _unit(self, index: int) -> Sequence[float]:
        raise NotImplementedError


class Uniform(_Sequence):
    """Uniform random points, each from a separate stream."""

    def _unit(self, index: int) -> Sequence[float]:
        drawn: list[float] = stream(self._seed, POINT, index).random(len(self._names)).tolist()
        return drawn


class QuasiRandom(_Sequence):
    """A scrambled Sobol sequence (Owen 1998), which fills the space evenly."""

    def _unit(self, index: int) -> Sequence[float]:
        from scipy.stats import qmc  # importing it takes .3 s

        sobol = qmc.Sobol(len(self._names), rng=stream(self._seed, SOBOL))
        if index:  # SciPy cannot skip 0 points
            sobol.fast_forward(index)
        unit: list[float] = sobol.random(1)[0].tolist()
        return unit
