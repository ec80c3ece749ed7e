"""The points of trials: when the sampler is asked, and which outcomes it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from lrsearch.contract import Setup
from lrsearch.distributions import check_point, distributions
from lrsearch.outcome import Trial
from lrsearch.ranges import Value
from lrsearch.sampling.registry import make_sampler
from lrsearch.sampling.sampler import History, Problem, Proposal, penalty
from lrsearch.study.spec import StudySpec


class Asker:
    """Asks a sampler for the point of every trial, in the order of their index.

    Args:
        spec, setup: specification of the study, and setup of its objective.
        first: points of the first trials; None for a schedule outside the space, from which the
            sampler learns nothing.
        window: W, the staleness window (`lrsearch.search.slots.window`).

    Attributes:
        points: points of the trials so far, by index; None for a schedule outside the space.
    """

    def __init__(
        self,
        spec: StudySpec,
        setup: Setup,
        *,
        first: Sequence[Mapping[str, Value] | None],
        window: int,
    ) -> None:
        self.points: list[Mapping[str, Value] | None] = []
        self._first, self._window, self._untrained = tuple(first), window, setup.untrained
        self._searched = distributions(spec.space)
        self._ended: dict[int, Trial] = {}
        self._known = 0  # all trials before this index have ended
        problem = Problem(
            space=spec.space,
            seed=spec.seed,
            positive=setup.positive,
            exact=setup.exact,
            untrained=setup.untrained,
            window=window,
        )
        self._make_sampler = partial(make_sampler, spec.sampler, problem)
        self._sampler = self._make_sampler()

    @property
    def independent(self) -> bool:
        """True if a point depends only on its index, so that points can be asked in any order."""
        return self._sampler.independent

    def ready(self, index: int) -> bool:
        """Return True if every outcome that a trial must see is known."""
        while self._known in self._ended:
            self._known += 1
        return self.independent or self._known >= index - self._window

    def tell(self, trial: Trial) -> None:
        """Add an ended trial; later trials see it according to the window.

        If another process has retried a failed trial, its new outcome replaces the failure.
        """
        if trial.index in self._ended:
            self._sampler = self._make_sampler()  # it may keep what it got from the failure
        # Thinned as in the storage, so that a resumed search sees the same.
        outcomes = tuple(outcome.thin() for outcome in trial.outcomes)
        self._ended[trial.index] = dataclasses.replace(trial, outcomes=outcomes)

    def penalty(self, trial: Trial) -> float | None:
        """Return the finite value that the sampler gets for a diverged trial, or None."""
        if trial.state != "diverged":
            return None
        end = trial.index - self._window
        return penalty(trial.index, self._ended, end, self._untrained)

    def ask(self) -> Proposal:
        """Return the point of the next trial; empty for a schedule outside the space."""
        index = len(self.points)
        if index < len(self._first):
            self.points.append(self._first[index])
            return Proposal(point=self._first[index] or {})
        if self.independent:  # a history would cost more than the sampler
            history = History()
        else:
            history = History(points=self.points, ended=_Before(self._ended, index - self._window))
        found = self._sampler.ask(index, history)
        self.points.append(found.point)
        return found

    def recall(self, point: Mapping[str, Value]) -> None:
        """Set the point of the next trial to a stored one.

        Raises:
            ValueError: the point is outside the space.
        """
        index = len(self.points)
        if index < len(self._first):
            self.points.append(self._first[index])
            return
        check_point(point, self._searched)
        self.points.append(dict(point))


class _Before(Mapping[int, Trial]):
    """The trials before an index. A copy for every trial would cost more than some samplers.

    Args:
        trials: all trials by index.
        end: the index.
    """

    def __init__(self, trials: Mapping[int, Trial], end: int) -> None:
        self._trials, self._end = trials, end

    def __getitem__(self, index: int) -> Trial:
        if index >= self._end:
            raise KeyError(index)
        return self._trials[index]

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and index < self._end and index in self._trials

    def __iter__(self) -> Iterator[int]:
        return (index for index in self._trials if index < self._end)

    def __len__(self) -> int:
        return sum(1 for _ in self)
