"""A study in a database: Optuna's tables, and a connection that may be lost for minutes.

A process has one connection, which one of its threads at a time uses. The lock of a guard belongs
to that connection's session, so whatever is written under a guard is written by the session that
holds the lock, or not at all: when the session is lost, the work under the guard stops, and begins
anew under another lock. What needs no guard can be repeated without harm, and is until the
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

#: Seconds for which a database that does not answer is tried again.
PATIENCE = 300.0
#: Seconds between the first two tries, and the most between any two.
PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: Seconds without an answer after which that is said.
QUIET = 2.0

#: Seconds for which a server that does not answer at first may be just being started.
STARTING = 10.0
#: What no waiting mends; a guess, as texts differ: what is not among them costs those seconds.
FINAL = re.compile(
    r"password|authentication|no pg_hba|does not exist|denied|unknown|resolve|translate", re.I
)

#: What drivers raise when a session is lost, refused, or was chosen to end a deadlock.
GONE = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
FAULTS = (SQLAlchemyError, StorageInternalError)

#: Pools' name. SQLAlchemy logs, with a traceback, that a lost session cannot be rolled back when
#: it is handed back, though whoever asked it something was told, or answered.
POOL = "lrsearch"
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{POOL}").setLevel(logging.CRITICAL)
logging.getLogger(f"sqlalchemy.pool.impl.NullPool.{POOL}").setLevel(logging.CRITICAL)

T = TypeVar("T")


def _repeated(name: str) -> Callable[..., Any]:
    """A method of Optuna's storage, asked again while the connection is lost."""

    def ask(self: Database, *arguments: Any) -> Any:
        return self._steady(lambda: getattr(self._storage, name)(*arguments))

    return ask


class Database(Clock):
    """The part of Optuna's storage interface that lrsearch uses, over a connection that may fail.

    Args:
        location: of a study there.
        create: whether to make Optuna's tables where there are none.

    Attributes:
        silent: seconds for which it has not answered, all in all.

    Raises:
        RequestError: it cannot be reached, holds no tables, or its driver is not installed.
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
                f"storage {location} cannot be used ({self._say(error)}); give "
                "postgresql://USER@HOST/NAME or mysql+pymysql://USER@HOST/NAME"
            ) from error
        except (*FAULTS, RuntimeError) as error:
            raise RequestError(
                f"cannot use {location} ({self._say(error)}); check that the server runs, and "
                "that the database is there and yours to write"
            ) from error
        self._engine = storage.engine
        self._engine.dispose()  # what has looked at the tables was not set up
        sqlalchemy.event.listen(self._engine, "do_connect", self._refuse)
        sqlalchemy.event.listen(self._engine, "connect", self._set_up)
        self._storage = storage
        self._caches: dict[int, TrialCache] = {}

    def _until_it_is_up(self, prepare: Callable[[], RDBStorage]) -> RDBStorage:
        """Lets a server that is being started answer."""
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
        """Makes Optuna's tables where there are none, and looks whether they are of its version.

        One process at a time: together they would fail, and need too many connections.
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
                    "`lrsearch tune` makes one"
                )
            RDBStorage(url, once)
            self._dialect.widen(connection)
            self._dialect.unlock(connection, "")
        one = {**named, "pool_size": 1, "max_overflow": 0}
        return RDBStorage(url, one, skip_compatibility_check=True, skip_table_creation=True)

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """Its one connection."""
        with self._turn, self._engine.connect() as connection:
            yield connection

    def clock(self) -> float:
        """Seconds by the server's clock, which all processes share."""

        def ask() -> float:
            with self.session() as connection:
                return self._dialect.clock(connection)

        return self._steady(ask)

    def hurry(self) -> None:
        """Waits no longer for a database that is away: the search is being ended."""
        self._hurried = True

    def close(self) -> None:
        """Gives the connection back."""
        self._engine.dispose()

    # What cannot be repeated is asked under a lock.
    create_new_study = _repeated("create_new_study")
    create_new_trial = _repeated("create_new_trial")
    get_study_id_from_name = _repeated("get_study_id_from_name")
    get_all_studies = _repeated("get_all_studies")
    get_study_directions = _repeated("get_study_directions")
    get_study_user_attrs = _repeated("get_study_user_attrs")
    set_study_user_attr = _repeated("set_study_user_attr")
    get_n_trials = _repeated("get_n_trials")
    get_trial = _repeated("get_trial")
    set_trial_user_attr = _repeated("set_trial_user_attr")

    def get_all_trials(self, study: int, deepcopy: bool = True) -> list[FrozenTrial]:
        """As Optuna's, as far as lrsearch needs them: see `lrsearch.study.trial_cache`."""
        cache = self._caches.setdefault(study, TrialCache(study))

        def look() -> list[FrozenTrial]:
            with self.session() as connection:
                return cache.look(connection)

        return self._steady(look)

    def set_trial_state_values(
        self, trial: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's; what was written before the answer was lost is no other's writing."""
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
        """What the database answers, asked again while its connection is lost.

        Raises:
            LockLost: it was lost under a guard.
            SearchFailed: it does not come back, or refuses what it was given.
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
                        f"{self._location} refuses a record ({why}); mend that, and the same "
                        "command goes on"
                    ) from fault
                if self._guarded:
                    raise LockLost(why) from fault
                # Whoever has waited in vain has done so for the others, too.
                if gone > PATIENCE or self._hurried or self._gave_up:
                    self.silent += gone
                    self._gave_up = True
                    raise SearchFailed(
                        f"{self._location} has not answered for {gone:.0f} s ({why}); the same "
                        "command goes on when it does"
                    ) from fault
                if gone > QUIET and not told:
                    told = True
                    log.warning("%s does not answer (%s); it is tried again", self._location, why)
                self._sleep(pause * (1 + os.getpid() % 16 / 16))  # not all at the same moment
                pause = min(2 * pause, LONGEST_PAUSE)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._hurried:
            time.sleep(PAUSE)  # which a signal's handler does not shorten

    def _is_lost(self, error: BaseException) -> bool:
        """Whether it is the connection that failed, and not what was asked."""
        fault = error.__cause__ if isinstance(error, StorageInternalError) else error
        if getattr(fault, "connection_invalidated", False):
            return True
        return isinstance(fault, GONE) and self._dialect.is_lost(fault.orig or fault)

    def _refuse(self, *_: object) -> None:
        """Under a guard there is no second session: it would not hold the lock."""
        if self._guarded:
            raise LockLost("its session has ended")

    def _set_up(self, connection: Any, _: object) -> None:
        self._dialect.set_up(connection)

    def _say(self, error: BaseException) -> str:
        """What is wrong, in one line and without a password."""
        fault = error.__cause__ if isinstance(error, StorageInternalError) else error
        said = str(getattr(fault, "orig", None) or fault)
        return one_line(redact_text(said, self._location.url))[:300]


class DatabaseLock:
    """A lock on a study, whichever machine its processes are on.

    Args:
        database: that the study is in.
        study: its name.
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
