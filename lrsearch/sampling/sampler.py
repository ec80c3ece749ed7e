"""The interface of samplers: pure functions of the problem, a trial's index and its history.

Three rules make a sampler pure. It is asked for trials in the order of their index. Trial n sees
exactly the outcomes of trials 0 … n-1-W; the rest count as running. Its random numbers come from a
stream of the study's seed and n. Slots, workers and interruptions therefore never change the
points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lrsearch.outcome import Trial
from lrsearch.ranges import Value
from lrsearch.space import Space


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The facts about a search that a sampler needs.

    Attributes:
        space: the space with all entries resolved.
        seed: seed of the study.
        positive: True to model the logarithm of the value.
        exact: True if values have no noise.
        untrained: value that stands for a diverged trial; None for the worst finite value.
        window: W, the number of preceding trials whose outcomes a trial does not use.
    """

    space: Space
    seed: int
    positive: bool = False
    exact: bool = False
    untrained: float | None = None
    window: int = 0

    @property
    def parallel(self) -> bool:
        """True if trials are asked before all earlier ones have ended."""
        return self.window > 0


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The point of a trial.

    Attributes:
        point: a value for every free field of the space.
        replicate: replicate of the first run; not 0 to repeat a point on another seed.
    """

    point: Mapping[str, Value]
    replicate: int = 0


@dataclass(frozen=True, kw_only=True)
class History:
    """The part of a study that trial n may see.

    Attributes:
        points: points of the trials 0 … n-1 by index; None for a schedule outside the space.
        ended: the trials 0 … n-1-W by index, with thinned curves as in the storage.
    """

    points: Sequence[Mapping[str, Value] | None] = ()
    ended: Mapping[int, Trial] = field(default_factory=dict)


class Sampler(Protocol):
    """A sampler. It may only keep state that `ask` could compute again.

    Attributes:
        independent: True if a point depends only on its index, so that points can be asked in any
            order and the history is not used.
    """

    @property
    def independent(self) -> bool:
        """True if a point depends only on its index."""
        ...

    def ask(self, index: int, history: History) -> Proposal:
        """Propose the point of a trial.

        Args:
            index: n, which increases from call to call. Trials with given points are skipped.
            history: the part of the study that the trial may see.
        """
        ...


def penalty(
    index: int, ended: Mapping[int, Trial], end: int, untrained: float | None
) -> float | None:
    """Return the finite value that the sampler gets for a diverged trial, or None if unknown.

    The sampler must learn from divergence, or it would propose the same region again.

    Args:
        index: index of the trial.
        ended: the trials that have ended, by index.
        end: only trials below this index are used, so that the order of ends does not matter.
        untrained: value of an untrained model, or None if unknown.
    """
    if untrained is not None:
        return untrained
    below = (t.value for i, t in ended.items() if i < end and i != index)
    return max((v for v in below if v is not None), default=None)


def model_value(value: float, *, positive: bool) -> float:
    """Return the value for a model: its logarithm if values are positive."""
    return math.log(max(value, 1e-300)) if positive else value
