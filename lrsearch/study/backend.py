"""The interface between a study and its storage, the same for a journal and a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
        """Create a study and return its id."""
        ...

    def create_new_trial(self, study: int, template: FrozenTrial, /) -> int:
        """Create a trial as a copy of a template and return its id."""
        ...

    def get_study_id_from_name(self, name: str, /) -> int:
        """Return the id of a study.

        Raises:
            KeyError: there is no study of this name.
        """
        ...

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return every study in the storage."""
        ...

    def get_study_directions(self, study: int, /) -> list[StudyDirection]:
        """Return the optimization directions of a study, one per objective."""
        ...

    def get_study_user_attrs(self, study: int, /) -> dict[str, Any]:
        """Return the user attributes of a study by key."""
        ...

    def set_study_user_attr(self, study: int, key: str, value: Any, /) -> None:
        """Set a user attribute of a study."""
        ...

    def get_n_trials(self, study: int, /) -> int:
        """Return the number of trials of a study, in any state."""
        ...

    def get_all_trials(self, study: int, /, deepcopy: bool = True) -> list[FrozenTrial]:
        """Return the trials of a study, ordered by number."""
        ...

    def get_trials_from(self, study: int, place: int, /) -> list[FrozenTrial]:
        """Return the trials of a study from a place in their order on, not copied."""
        ...

    def get_trial(self, trial: int, /) -> FrozenTrial:
        """Return one trial."""
        ...

    def set_trial_user_attr(self, trial: int, key: str, value: Any, /) -> None:
        """Set a user attribute of a trial that has not ended."""
        ...

    def set_trial_state_values(
        self, trial: int, /, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state and the values of a trial; return whether they were set.

        Raises:
            UpdateFinishedTrialError: the trial has already ended.
        """
        ...


@dataclass(frozen=True)
class OpenBackend:
    """An open storage.

    Attributes:
        records: the studies and trials in it.
        lock: the lock of the study.
        clock: the clock of the storage.
        close: a function that closes the connection, if there is one.
    """

    records: Backend
    lock: AbstractContextManager[None]
    clock: Clock
    close: Callable[[], None]

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Close the storage if its study cannot be opened."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def begin(location: Location) -> OpenBackend:
    """Open a storage for writing, creating it if it does not exist.

    Raises:
        RequestError: the storage is not one of lrsearch, or cannot be opened.
        OSError: the journal cannot be written.
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
    """Open an existing storage for reading.

    Raises:
        RequestError: the storage does not exist or cannot be read.
    """
    if location.path is None:
        return _database(location, create=False)
    path = location.path
    if not real_path(path).is_file():
        others = [p.stem for p in Path(FOLDER).glob("*.journal")]
        hint = closest(location.study, others) if others else "; `lrsearch tune` creates one"
        raise RequestError(f"there is no study {location.study!r} at {path}{hint}")
    check_journal(path)
    return OpenBackend(open_journal(path), FileLock(path.with_suffix(".lock")), Clock(), _nothing)


def has(records: Backend, name: str) -> bool:
    """Return whether a study of that name exists."""
    try:
        records.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def names_of(records: Backend) -> list[str]:
    """Return the names of the studies in a storage."""
    names = [study.study_name for study in records.get_all_studies()]
    return [name for name in names if isinstance(name, str)]


def _nothing() -> None:
    """Do nothing: a journal is not kept open between two calls."""


def _database(location: Location, *, create: bool) -> OpenBackend:
    from lrsearch.study.database import Database, DatabaseLock  # imports SQLAlchemy

    database = Database(location, create=create)
    return OpenBackend(database, DatabaseLock(database, location.study), database, database.close)
