"""A study in a database: Optuna's tables over a connection that may be lost for minutes.

Each process has one connection, used by one thread at a time. The study's lock belongs to the
session of that connection. Everything written under the lock is therefore written by the session
that holds it, or not at all. If the session is lost, the work under the lock stops and is repeated
under a new lock. Calls that need no lock can be repeated safely. They are retried until the
database answers again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from lrsearch.errors import RequestError, SearchFailed, log, one_line
from lrsearch.redaction import redact_text
from lrsearch.study.clock import Clock
from lrsearch.study.dialect import dialect_of
from lrsearch.study.location import Location
from lrsearch.study.locks import LockLost
from lrsearch.study.trial_cache import TrialCache
from lrsearch.study.trial_records import reading

#: Seconds for which an unreachable database is retried.
PATIENCE = 300.0
#: Seconds before the first retry, and the longest pause between two retries.
PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: Seconds without an answer before a warning is logged.
QUIET = 2.0

#: Seconds for which a server that refuses the first connection may still be starting.
STARTING = 10.0
#: Texts of errors that waiting does not fix. The list is incomplete, as the texts differ between
#: servers: an error that is not listed is retried for `STARTING` seconds.
FINAL = re.compile(
    r"password|authentication|no pg_hba|does not exist|denied|unknown|resolve|translate", re.I
)

#: Errors of a session that was lost, refused, or ended to resolve a deadlock.
GONE = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
FAULTS = (SQLAlchemyError, StorageInternalError)

#: Name of the connection pools. SQLAlchemy logs a traceback when it cannot roll back a lost
#: session. That log is silenced: the call that used the session has already failed or returned.
POOL = "lrsearch"
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{POOL}").setLevel(logging.CRITICAL)
logging.getLogger(f"sqlalchemy.pool.impl.NullPool.{POOL}").setLevel(logging.CRITICAL)

T = TypeVar("T")


def _repeated(name: str) -> Callable[..., Any]:
    """Return a method that calls Optuna's storage, with retries while the connection is lost."""

    def ask(self: Database, *arguments: Any) -> Any:
        return self._steady(lambda: getattr(self._storage, name)(*arguments))

    return ask


def _read(name: str) -> Callable[..., Any]:
    """Return a method that reads rows, which a stranger may have written."""
    ask = _repeated(name)

    def read(self: Database, *arguments: Any) -> Any:
        with reading(self._location, known=(KeyError,)):  # a KeyError reports a missing study
            return ask(self, *arguments)

    return read


class Database(Clock):
    """The part of Optuna's storage interface that lrsearch uses, over a connection that may fail.

    Args:
        location: the location of a study in the database.
        create: True to create Optuna's tables if they do not exist.

    Attributes:
        silent: total seconds for which the database has not answered.

    Raises:
        RequestError: the database cannot be reached, has no tables, or its driver is not
            installed.
    """

    def __init__(self, location: Location, *, create: bool) -> None:
        self._location = location
        self._turn = threading.RLock()
        self._guarded = self._hurried = self._gave_up = False
        self.silent = 0.0
        try:
            self._dialect, url = dialect_of(sqlalchemy.make_url(location.url))
            whole, words = url.render_as_string(hide_password=False), dict(self._dialect.connect)
            storage = self._until_it_is_up(lambda: self._prepare(whole, words, create=create))
        except (RequestError, SearchFailed):
            raise
        except (ArgumentError, NoSuchModuleError, ImportError, TypeError, ValueError) as error:
            raise RequestError(
                f"storage {location} cannot be used ({self._say(error)}); use "
                "postgresql://USER@HOST/NAME or mysql+pymysql://USER@HOST/NAME"
            ) from error
        except (*FAULTS, RuntimeError) as error:
            raise RequestError(
                f"cannot use {location} ({self._say(error)}); check that the server is running, "
                "that the database exists and that you may write to it"
            ) from error
        self._engine = storage.engine
        self._engine.dispose()  # connections opened before the listeners below were not set up
        sqlalchemy.event.listen(self._engine, "do_connect", self._refuse)
        sqlalchemy.event.listen(self._engine, "connect", self._set_up)
        self._storage = storage
        self._caches: dict[int, TrialCache] = {}

    def _until_it_is_up(self, prepare: Callable[[], RDBStorage]) -> RDBStorage:
        """Call `prepare`, with retries for a few seconds in case the server is starting."""
        began = time.monotonic()
        while True:
            try:
                return prepare()
            except FAULTS as error:
                said, gone = self._say(error), time.monotonic() - began
                if gone > STARTING or not self._is_lost(error) or FINAL.search(said):
                    raise
                time.sleep(PAUSE * (1 + gone))

    def _prepare(self, url: str, words: dict[str, Any], *, create: bool) -> RDBStorage:
        """Create Optuna's tables if they do not exist, and check their version.

        A lock lets one process do this at a time. In parallel, processes would fail and need too
        many connections.
        """
        named = {"connect_args": words, "pool_logging_name": POOL}
        once: dict[str, Any] = {**named, "poolclass": sqlalchemy.NullPool}
        engine = sqlalchemy.create_engine(url, **once)
        sqlalchemy.event.listen(engine, "connect", self._set_up)
        with engine.connect() as connection:
            self._dialect.lock(connection, "")
            if not create and not sqlalchemy.inspect(connection).has_table("version_info"):
                raise RequestError(
                    f"there is no study {self._location.study!r} in {self._location}; "
                    "`lrsearch tune` creates one"
                )
            RDBStorage(url, once)
            self._dialect.widen(connection)
            self._dialect.unlock(connection, "")
        one = {**named, "pool_size": 1, "max_overflow": 0}
        return RDBStorage(url, one, skip_compatibility_check=True, skip_table_creation=True)

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """Yield the only connection of this process."""
        with self._turn, self._engine.connect() as connection:
            yield connection

    def clock(self) -> float:
        """Return the time of the server's clock in seconds, the same for all processes."""

        def ask() -> float:
            with self.session() as connection:
                return self._dialect.clock(connection)

        return self._steady(ask)

    def hurry(self) -> None:
        """Stop waiting for an unreachable database, because the search is ending."""
        self._hurried = True

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    # Calls that cannot be repeated safely, such as creating a trial, are made under the lock.
    create_new_study = _repeated("create_new_study")
    create_new_trial = _repeated("create_new_trial")
    get_study_id_from_name = _read("get_study_id_from_name")
    get_all_studies = _read("get_all_studies")
    get_study_directions = _read("get_study_directions")
    get_study_user_attrs = _read("get_study_user_attrs")
    set_study_user_attr = _repeated("set_study_user_attr")
    get_n_trials = _read("get_n_trials")
    get_trial = _read("get_trial")
    set_trial_user_attr = _repeated("set_trial_user_attr")

    def get_all_trials(self, study: int, deepcopy: bool = True) -> list[FrozenTrial]:
        """Return the trials of a study, without what `lrsearch.study.trial_cache` leaves out."""
        cache = self._caches.setdefault(study, TrialCache(study))

        def look() -> list[FrozenTrial]:
            with self.session() as connection:
                return cache.look(connection)

        return self._steady(look)

    def get_trials_from(self, study: int, place: int) -> list[FrozenTrial]:
        """Return the trials of a study from a place in their order on."""
        return self.get_all_trials(study, deepcopy=False)[place:]

    def set_trial_state_values(
        self, trial: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set the state and the values of a trial, even if the answer to the write is lost.

        After a lost answer the retry finds the trial ended. This is an error only if the stored
        state or values are not those of this call.
        """
        tries = 0

        def write() -> bool:
            nonlocal tries
            tries += 1
            try:
                return self._storage.set_trial_state_values(trial, state, values)
            except UpdateFinishedTrialError:
                kept = self._storage.get_trial(trial)
                if tries == 1 or kept.state != state or kept.values != values:
                    raise
                return True

        return self._steady(write)

    def _steady(self, ask: Callable[[], T]) -> T:
        """Return the answer of the database, with retries while the connection is lost.

        Raises:
            LockLost: the connection was lost while the lock was held.
            SearchFailed: the database stays unreachable, or rejects the request.
        """
        with self._turn:
            began, pause, told = time.monotonic(), PAUSE, False
            while True:
                try:
                    answer = ask()
                except FAULTS as error:
                    fault = error
                else:
                    self._gave_up = False
                    if pause > PAUSE:
                        self.silent += time.monotonic() - began
                    if told:
                        log.warning("%s answers again", self._location)
                    return answer
                gone, why = time.monotonic() - began, self._say(fault)
                if not self._is_lost(fault):
                    raise SearchFailed(
                        f"{self._location} rejected a record ({why}); fix the cause and run the "
                        "same command again to continue"
                    ) from fault
                if self._guarded:
                    raise LockLost(why) from fault
                # After one call has timed out, the next ones do not wait again.
                if gone > PATIENCE or self._hurried or self._gave_up:
                    self.silent += gone
                    self._gave_up = True
                    raise SearchFailed(
                        f"{self._location} has not answered for {gone:.0f} s ({why}); run the "
                        "same command again when the database is reachable"
                    ) from fault
                if gone > QUIET and not told:
                    told = True
                    log.warning("%s does not answer (%s); retrying", self._location, why)
                self._sleep(pause * (1 + os.getpid() % 16 / 16))  # spreads the retries
                pause = min(2 * pause, LONGEST_PAUSE)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._hurried:
            time.sleep(PAUSE)  # short, because a signal does not interrupt it

    def _is_lost(self, error: BaseException) -> bool:
        """Return whether the connection failed, and not the request itself."""
        fault = error.__cause__ if isinstance(error, StorageInternalError) else error
        if getattr(fault, "connection_invalidated", False):
            return True
        return isinstance(fault, GONE) and self._dialect.is_lost(fault.orig or fault)

    def _refuse(self, *_: object) -> None:
        """Refuse a new session while the lock is held: it would not hold the lock."""
        if self._guarded:
            raise LockLost("the session that held it has ended")

    def _set_up(self, connection: Any, _: object) -> None:
        self._dialect.set_up(connection)

    def _say(self, error: BaseException) -> str:
        """Return the text of an error in one line and without the password."""
        fault = error.__cause__ if isinstance(error, StorageInternalError) else error
        said = str(getattr(fault, "orig", None) or fault)
        return one_line(redact_text(said, self._location.url))[:300]


class DatabaseLock:
    """A lock on a study for the processes of all machines.

    Args:
        database: the database of the study.
        study: the name of the study.
    """

    def __init__(self, database: Database, study: str) -> None:
        self._database, self._study = database, study

    def __enter__(self) -> None:
        database = self._database
        database._turn.acquire()
        try:
            database._steady(self._lock)
            database._guarded = True
        except BaseException:
            database._turn.release()
            raise

    def __exit__(self, *exception: object) -> None:
        database = self._database
        try:
            with contextlib.suppress(LockLost, *FAULTS), database.session() as connection:
                database._dialect.unlock(connection, self._study)
        finally:
            database._guarded = False
            database._turn.release()

    def _lock(self) -> None:
        with self._database.session() as connection:
            self._database._dialect.lock(connection, self._study)
