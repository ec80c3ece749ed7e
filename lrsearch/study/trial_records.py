"""What is stored of a trial: that it runs, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lrsearch.codec import decode
from lrsearch.errors import RequestError
from lrsearch.ranges import Value
from lrsearch.result import STATES, Outcome, Trial
from lrsearch.schedule import Schedule
from lrsearch.study.keys import RUNNING
from lrsearch.study.settings import MOST_TRIALS

#: What reading a record may raise that lrsearch did not write.
STRANGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


@contextmanager
def reading(location: object) -> Iterator[None]:
    """Turn what a record raises that lrsearch did not write into one clear error.

    Raises:
        RequestError: with the location in it.
    """
    try:
        yield
    except RequestError as error:
        raise RequestError(
            f"{location} holds a record that is none of lrsearch's: {error}"
        ) from error
    except STRANGE as error:
        raise RequestError(
            f"{location} holds a record that is none of lrsearch's ({type(error).__name__}: "
            f"{error}); choose another --storage"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt at a trial: a trial of Optuna's, which ends or is lost with its process.

    Attributes:
        index: of the trial, lrsearch's own count.
        worker: the id of the worker that runs it.
        point: its values of the free fields; empty for a schedule outside the space.
        retry: how many attempts were lost before.
        replicate: of its first run; another than 0 repeats a point on other seeds.
    """

    index: int
    worker: str
    point: Mapping[str, Value]
    retry: int = 0
    replicate: int = 0


def attempt_of(frozen: FrozenTrial) -> Attempt | None:
    """Return which attempt a trial of Optuna's is, if it is one.

    Raises:
        ValueError: its record is not one of an attempt.
    """
    kept = frozen.user_attrs.get(RUNNING)
    return None if kept is None else decode(Attempt, kept)


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """How a trial ended, as it is stored.

    Attributes:
        study: the id of its study.
        index, schedule, outcomes: as in `lrsearch.result.Trial`.
        state: the trial's.
        told: the value that Optuna is told: of a diverged trial a finite one that teaches
            samplers to stay away; None where there is none.

    Raises:
        ValueError: it contradicts itself.
    """

    study: str
    index: int
    state: str
    schedule: Schedule
    outcomes: tuple[Outcome, ...]
    told: float | None

    def __post_init__(self) -> None:
        if not 0 <= self.index < MOST_TRIALS:
            raise ValueError(f"trial {self.index}")
        first = self.outcomes[0].replicate if self.outcomes else 0
        expected = [(self.index, first + i) for i in range(len(self.outcomes))]
        runs = [(outcome.trial, outcome.replicate) for outcome in self.outcomes]
        if runs != expected or not expected:
            raise ValueError("the runs of a trial are not its own")
        states = {outcome.state for outcome in self.outcomes}
        if not states <= set(STATES) or self.trial.state != self.state:
            raise ValueError(f"a {self.state} trial of runs that are {', '.join(states)}")

    @classmethod
    def of(cls, trial: Trial, study: str, penalty: float | None) -> EndedTrial:
        """Return the record of a trial, its curves thinned.

        Args:
            trial: that has ended.
            study: the study's id.
            penalty: the finite value that stands for a diverged trial, or None.
        """
        return cls(
            study=study,
            index=trial.index,
            state=trial.state,
            schedule=trial.schedule,
            outcomes=tuple(outcome.thin() for outcome in trial.outcomes),
            told=penalty if trial.state == "diverged" else trial.value,
        )

    @property
    def trial(self) -> Trial:
        """The trial."""
        return Trial(index=self.index, schedule=self.schedule, outcomes=self.outcomes)

    @property
    def final(self) -> tuple[TrialState, list[float] | None]:
        """The state and the values that Optuna is told.

        A diverged trial is complete, with a finite value that teaches samplers to stay away, and
        has failed where no such value is known.
        """
        if self.state in ("finished", "diverged") and self.told is not None:
            return TrialState.COMPLETE, [self.told]
        return (TrialState.PRUNED if self.state == "pruned" else TrialState.FAIL), None

    @classmethod
    def read(cls, kept: Any) -> EndedTrial:
        """Decode a stored record.

        Raises:
            ValueError: it is not one, or contradicts itself.
        """
        ended: EndedTrial = decode(cls, kept)
        return ended
