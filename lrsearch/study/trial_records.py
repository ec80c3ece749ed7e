"""The stored records of trials: running attempts and ended trials."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lrsearch.codec import decode
from lrsearch.errors import RequestError, one_line
from lrsearch.outcome import STATES, Outcome, Trial
from lrsearch.ranges import Value
from lrsearch.schedule import Schedule
from lrsearch.study.keys import RUNNING
from lrsearch.study.settings import MOST_TRIALS

#: Errors that may occur when reading a record that lrsearch did not write.
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
def collector_paused() -> Iterator[None]:
    """Pause Python's search for cycles of objects, which takes half of the time to load a study.

    The objects of a study have none.
    """
    runs = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if runs:
            gc.enable()


@contextmanager
def reading(location: object, *, known: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn errors from a record that lrsearch did not write into one clear error.

    Args:
        location: what is read, for the message.
        known: errors that the caller handles.

    Raises:
        RequestError: a record cannot be read; the message has the location.
    """
    try:
        with collector_paused():
            yield
    except known:
        raise
    except RequestError as error:
        hint = one_line(str(error))
        raise RequestError(
            f"{location} has a record that this version of lrsearch cannot read: {hint}"
        ) from error
    except STRANGE as error:
        raise RequestError(
            f"{location} has a record that this version of lrsearch cannot read "
            f"({type(error).__name__}: {one_line(str(error))}); choose another `storage=`"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt at a trial: one trial in Optuna, which ends or is lost with its process.

    Attributes:
        index: index of the trial in lrsearch, which may differ from Optuna's number.
        worker: id of the worker that runs it.
        point: values of the free fields; empty for a schedule outside the space.
        retry: number of earlier attempts that were lost.
        replicate: replicate of the first run; if it is not 0, a point is repeated on other seeds.
    """

    index: int
    worker: str
    point: Mapping[str, Value]
    retry: int = 0
    replicate: int = 0


def attempt_of(frozen: FrozenTrial) -> Attempt | None:
    """Return the attempt that a trial in Optuna stands for, or None.

    Raises:
        ValueError: the record is not that of an attempt.
    """
    kept = frozen.user_attrs.get(RUNNING)
    return None if kept is None else decode(Attempt, kept)


@dataclass(frozen=True, kw_only=True)
class EndedTrial:
    """The stored record of an ended trial.

    Attributes:
        study: id of the study.
        index, schedule, outcomes: as in `lrsearch.outcome.Trial`.
        state: state of the trial.
        told: value that is reported to Optuna, or None. For a diverged trial it is a finite
            penalty, from which samplers learn to avoid the region.

    Raises:
        ValueError: the record contradicts itself.
    """

    study: str
    index: int
    state: str
    schedule: Schedule
    outcomes: tuple[Outcome, ...]
    told: float | None

    def __post_init__(self) -> None:
        if not 0 <= self.index < MOST_TRIALS:
            raise ValueError(f"trial index {self.index} is out of range")
        first = self.outcomes[0].replicate if self.outcomes else 0
        expected = [(self.index, first + i) for i in range(len(self.outcomes))]
        runs = [(outcome.trial, outcome.replicate) for outcome in self.outcomes]
        if runs != expected or not expected:
            raise ValueError(f"the runs of trial {self.index} belong to another trial")
        states = {outcome.state for outcome in self.outcomes}
        if not states <= set(STATES) or self.trial.state != self.state:
            raise ValueError(f"a trial is {self.state}, but its runs are {', '.join(states)}")

    @classmethod
    def of(cls, trial: Trial, study: str, penalty: float | None) -> EndedTrial:
        """Return the record of a trial, with its curves thinned.

        Args:
            trial: the ended trial.
            study: id of the study.
            penalty: finite value to report for a diverged trial, or None.
        """
        return cls(
            study=study,
            index=trial.index,
            state=trial.state,
            schedule=trial.schedule,
            outcomes=tuple(outcome.thin() for outcome in trial.outcomes),
            told=penalty if trial.state == "diverged" else trial.value,
        )

    @functools.cached_property
    def trial(self) -> Trial:
        """The trial of this record."""
        return Trial(index=self.index, schedule=self.schedule, outcomes=self.outcomes)

    @property
    def final(self) -> tuple[TrialState, list[float] | None]:
        """The state and the values that are reported to Optuna.

        A diverged trial is complete, with a finite penalty, from which samplers learn to avoid the
        region. If no penalty is known, it has failed.
        """
        if self.state in ("finished", "diverged") and self.told is not None:
            return TrialState.COMPLETE, [self.told]
        return (TrialState.PRUNED if self.state == "pruned" else TrialState.FAIL), None

    @classmethod
    def read(cls, kept: Any) -> EndedTrial:
        """Decode a stored record.

        Raises:
            ValueError: the record is not that of an ended trial, or contradicts itself.
        """
        ended: EndedTrial = decode(cls, kept)
        return ended
