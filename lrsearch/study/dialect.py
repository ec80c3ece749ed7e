"""How PostgreSQL and MySQL differ: drivers, locks of a session, lost connections, the clock."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, text

from lrsearch.errors import RequestError, SearchFailed
from lrsearch.redaction import redact

#: Seconds to wait for a lock: longer than a server takes to detect that the machine of the lock's
#: holder is gone.
LOCK = 90.0

#: Connection arguments. With them a connection whose other side is gone fails within half a
#: minute, instead of after the system's default of two hours.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
POSTGRES = MappingProxyType({"connect_timeout": 10, "tcp_user_timeout": 30_000, **ALIVE})
MYSQL = MappingProxyType(
    {"connect_timeout": 10, "read_timeout": int(LOCK) + 30, "write_timeout": 30}
)
#: MySQL's error numbers of a lost connection, a shutdown, too many connections, a timeout or a
#: deadlock.
LOST_CODES = (0, 1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2055, 4031)

#: PostgreSQL's error code of a lock that could not be taken in time.
NOT_AVAILABLE = "55P03"


class Dialect:
    """A kind of database.

    Attributes:
        drivers: Python packages that can connect to it; the first installed one is used.
        extra: the optional dependency of lrsearch that installs the first driver.
        connect: connection arguments.
        now: SQL query of the time in seconds.
    """

    drivers: tuple[str, ...]
    extra: str
    connect: Mapping[str, Any]
    now: str

    def lock(self, connection: Connection, name: str) -> None:
        """Take the lock of a name for the session of the connection.

        Raises:
            SearchFailed: another session has held the lock for too long.
        """
        raise NotImplementedError

    def unlock(self, connection: Connection, name: str) -> None:
        """Release the lock of a name."""
        raise NotImplementedError

    def set_up(self, connection: Any) -> None:
        """Configure a new session.

        Args:
            connection: the driver's own connection object.
        """

    def widen(self, connection: Connection) -> None:
        """Widen columns of Optuna's tables so that they hold values of any length."""

    def is_lost(self, error: BaseException) -> bool:
        """Return whether a driver's error means a lost connection, not a rejected request."""
        raise NotImplementedError

    def clock(self, connection: Connection) -> float:
        """Return the time of the server's clock in seconds, the same for all processes."""
        return float(connection.execute(text(self.now)).scalar_one())


class _Postgres(Dialect):
    drivers = ("psycopg", "psycopg2")
    extra = "postgresql"
    connect = POSTGRES
    now = "SELECT extract(epoch FROM clock_timestamp())"

    def lock(self, connection: Connection, name: str) -> None:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK:g}s'"))
        try:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _number(name)})
        except sqlalchemy.exc.DBAPIError as error:
            if NOT_AVAILABLE in (
                getattr(error.orig, "sqlstate", None),
                getattr(error.orig, "pgcode", None),
            ):
                raise _stuck("pg_stat_activity") from error
            raise
        connection.commit()

    def unlock(self, connection: Connection, name: str) -> None:
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _number(name)})
        connection.commit()

    def is_lost(self, error: BaseException) -> bool:
        # Without a code there was no connection. The codes are those of connections (08),
        # deadlocks (40), shutdowns (57P) and too many connections (53300).
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return code is None or code.startswith(("08", "40", "57P", "53300"))

    def set_up(self, connection: Any) -> None:
        # Without keepalives the server keeps the locks of a machine that is gone.
        with connection.cursor() as cursor:
            for name, value in ALIVE.items():
                cursor.execute(f"SET tcp_{name} = {value}")
        connection.commit()


class _Mysql(Dialect):
    drivers = ("pymysql", "MySQLdb")
    extra = "mysql"
    connect = MYSQL
    now = "SELECT unix_timestamp(now(6))"

    def lock(self, connection: Connection, name: str) -> None:
        words = {"key": self._key(connection, name), "seconds": LOCK}
        got = connection.execute(text("SELECT get_lock(:key, :seconds)"), words).scalar()
        connection.commit()
        if got != 1:
            raise _stuck("SHOW PROCESSLIST")

    def unlock(self, connection: Connection, name: str) -> None:
        words = {"key": self._key(connection, name)}
        connection.execute(text("SELECT release_lock(:key)"), words)
        connection.commit()

    def is_lost(self, error: BaseException) -> bool:
        return not error.args or error.args[0] in LOST_CODES

    def set_up(self, connection: Any) -> None:
        # Without a timeout the server keeps the locks of a machine that is gone. A session that
        # was idle for longer is opened again.
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION wait_timeout = 60")
        connection.commit()

    def widen(self, connection: Connection) -> None:
        # MySQL's TEXT holds 64 kB; the record of a trial with many seeds is longer.
        for table in ("trial_user_attributes", "study_user_attributes"):
            columns = sqlalchemy.inspect(connection).get_columns(table)
            kind = next(c["type"] for c in columns if c["name"] == "value_json")
            if str(kind).upper() != "LONGTEXT":
                connection.execute(text(f"ALTER TABLE {table} MODIFY value_json LONGTEXT"))

    def _key(self, connection: Connection, name: str) -> str:
        """Return the name of a lock: unique on the server and at most 64 characters long."""
        whole = f"{connection.engine.url.database}/{name}"
        return f"lrsearch:{hashlib.sha256(whole.encode()).hexdigest()[:40]}"


_DIALECTS: dict[str, Dialect] = {
    "postgresql": _Postgres(),
    "mysql": _Mysql(),
    "mariadb": _Mysql(),
}


def dialect_of(url: sqlalchemy.URL) -> tuple[Dialect, sqlalchemy.URL]:
    """Return the dialect of a URL, and the URL with a driver that is installed.

    Raises:
        RequestError: no driver is installed.
    """
    dialect = _DIALECTS[url.get_backend_name()]
    if "+" in url.drivername:
        return dialect, url
    for driver in dialect.drivers:
        if importlib.util.find_spec(driver) is not None:
            name = driver.lower()
            return dialect, url.set(drivername=f"{url.get_backend_name()}+{name}")
    raise RequestError(
        f"storage {redact(url.render_as_string())} needs a driver, and neither "
        f"{' nor '.join(dialect.drivers)} is installed; run "
        f"pip install 'lrsearch[{dialect.extra}]'"
    )


def _stuck(location: str) -> SearchFailed:
    return SearchFailed(
        f"another process has held the study's lock for {LOCK:g} s; find that process with "
        f"{location} and end it"
    )


def _number(name: str) -> int:
    """Return the key of a lock: in PostgreSQL a 64-bit number, separate for each database."""
    digest = hashlib.sha256(f"lrsearch:{name}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
