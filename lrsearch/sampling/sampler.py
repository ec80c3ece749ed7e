"""What a sampler is: a pure function of the problem, the index of a trial and what it may see.

Three things make it pure. A sampler is asked for trials in the order of their index. Trial n sees
exactly the outcomes of trials 0 … n-1-W, whichever have ended; the rest count as running. And what
it draws comes from a stream of the study's seed and n. Slots, workers and interruptions therefore
never change what is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lrsearch.ranges import Value
from lrsearch.result import Trial
from lrsearch.space import Space


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a sampler searches.

    Attributes:
        space: with every entry resolved.
        seed: the study's.
        positive: whether to model the logarithm of the value.
        exact: whether values carry no noise.
        untrained: the value that stands for a diverged trial; None is the worst finite one.
        parallel: whether trials are asked before all earlier ones have ended.
    """

    space: Space
    seed: int
    positive: bool = False
    exact: bool = False
    untrained: float | None = None
    parallel: bool = False


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to try next.

    Attributes:
        point: a value for every free field of the space.
        replicate: the seed of the first run; another than 0 repeats a point on another seed.
    """

    point: Mapping[str, Value]
    replicate: int = 0


@dataclass(frozen=True, kw_only=True)
class History:
    """What trial n may see.

    Attributes:
        points: of the trials 0 … n-1, by index; None is a schedule outside the space.
        ended: the trials 0 … n-1-W, by index, with their curves as the storage keeps them.
    """

    points: Sequence[Mapping[str, Value] | None] = ()
    ended: Mapping[int, Trial] = field(default_factory=dict)


class Sampler(Protocol):
    """Proposes the point of every trial. Keep nothing that `ask` could not compute again.

    Attributes:
        independent: whether points depend on their index alone, so that any may be asked at any
            time and nothing of the history is read.
    """

    @property
    def independent(self) -> bool:
        """As above."""
        ...

    def ask(self, index: int, history: History) -> Proposal:
        """Propose the point of a trial.

        Args:
            index: n. Indices rise from call to call; those of points that were given are left out.
            history: what the trial may see.
        """
        ...


def penalty(
    index: int, ended: Mapping[int, Trial], end: int, untrained: float | None
) -> float | None:
    """Return the finite value that stands for a diverged trial, or None where nothing is known.

    The sampler must learn from a divergence: a trial that tells it nothing is asked again.

    Args:
        index: of the trial.
        ended: the trials that have ended, by index.
        end: those below it are seen, so that the order in which trials end does not matter.
        untrained: the value of an untrained model, where it is known.
    """
    if untrained is not None:
        return untrained
    below = (t.value for i, t in ended.items() if i < end and i != index)
    return max((v for v in below if v is not None), default=None)


def model_value(value: float, *, positive: bool) -> float:
    """Return what a model is given of a value: its logarithm makes several decades even."""
    return math.log(max(value, 1e-300)) if positive else value
