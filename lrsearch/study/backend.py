"""The records of a study, whichever way they are kept: what the engine asks of a storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from lrsearch.errors import RequestError, closest
from lrsearch.study.clock import Clock
from lrsearch.study.journal import check_journal, open_journal, real_path
from lrsearch.study.location import FOLDER, Location
from lrsearch.study.locks import FileLock


class Backend(Protocol):
    """The part of Optuna's storage interface that lrsearch uses."""

    def create_new_study(self, directions: Sequence[StudyDirection], name: str, /) -> int:
        """As Optuna's."""
        ...

    def create_new_trial(self, study: int, template: FrozenTrial, /) -> int:
        """As Optuna's."""
        ...

    def get_study_id_from_name(self, name: str, /) -> int:
        """As Optuna's."""
        ...

    def get_all_studies(self) -> list[FrozenStudy]:
        """As Optuna's."""
        ...

    def get_study_directions(self, study: int, /) -> list[StudyDirection]:
        """As Optuna's."""
        ...

    def get_study_user_attrs(self, study: int, /) -> dict[str, Any]:
        """As Optuna's."""
        ...

    def set_study_user_attr(self, study: int, key: str, value: Any, /) -> None:
        """As Optuna's."""
        ...

    def get_n_trials(self, study: int, /) -> int:
        """As Optuna's."""
        ...

    def get_all_trials(self, study: int, /, deepcopy: bool = True) -> list[FrozenTrial]:
        """As Optuna's."""
        ...

    def get_trial(self, trial: int, /) -> FrozenTrial:
        """As Optuna's."""
        ...

    def set_trial_user_attr(self, trial: int, key: str, value: Any, /) -> None:
        """As Optuna's."""
        ...

    def set_trial_state_values(
        self, trial: int, /, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's."""
        ...


@dataclass(frozen=True)
class OpenBackend:
    """An open storage.

    Attributes:
        records: what it holds.
        lock: of the study.
        clock: its time.
        close: gives back what it holds open.
    """

    records: Backend
    lock: AbstractContextManager[None]
    clock: Clock
    close: Callable[[], None]


def begin(location: Location) -> OpenBackend:
    """Opens a storage to write to it, and makes it where there is none.

    Raises:
        RequestError: it is no storage of studies, or cannot be opened.
        OSError: a journal cannot be written.
    """
    if location.path is None:
        return _database(location, create=True)
    check_journal(location.path)
    location.path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(real_path(location.path.with_suffix(".lock")))
    with lock:
        records = open_journal(location.path)
    return OpenBackend(records, lock, Clock(), _nothing)


def look_up(location: Location) -> OpenBackend:
    """Opens a storage that there is.

    Raises:
        RequestError: there is none, or it cannot be read.
    """
    if location.path is None:
        return _database(location, create=False)
    path = location.path
    if not real_path(path).is_file():
        others = [p.stem for p in Path(FOLDER).glob("*.journal")]
        hint = closest(location.study, others) if others else "; `lrsearch tune` makes one"
        raise RequestError(f"there is no study {location.study!r} at {path}{hint}")
    check_journal(path)
    return OpenBackend(open_journal(path), FileLock(path.with_suffix(".lock")), Clock(), _nothing)


def has(records: Backend, name: str) -> bool:
    """Whether there is a study of that name."""
    try:
        records.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def names_of(records: Backend) -> list[str]:
    """The studies that there are, by name."""
    names = [study.study_name for study in records.get_all_studies()]
    return [name for name in names if isinstance(name, str)]


def _nothing() -> None:
    """A journal is opened for each look."""


def _database(location: Location, *, create: bool) -> OpenBackend:
    from lrsearch.study.database import Database, DatabaseLock  # SQLAlchemy, for who has one

    database = Database(location, create=create)
    return OpenBackend(database, DatabaseLock(database, location.study), database, database.close)
