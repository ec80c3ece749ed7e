"""What PostgreSQL and MySQL each call drivers, locks that die with a session, and the time."""

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

#: Seconds for which a lock is waited for: longer than a server takes to find out that its holder's
#: machine is gone.
LOCK = 90.0

#: Arguments of connections; with these, one whose other side is gone is given up within half a
#: minute, and not after the two hours of the system's default.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
POSTGRES = MappingProxyType({"connect_timeout": 10, "tcp_user_timeout": 30_000, **ALIVE})
MYSQL = MappingProxyType(
    {"connect_timeout": 10, "read_timeout": int(LOCK) + 30, "write_timeout": 30}
)
#: MySQL's numbers of what a lost connection, a shutdown, a crowd, a timeout or a deadlock raises.
LOST_CODES = (0, 1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2055, 4031)

#: PostgreSQL's name for a lock that was waited for in vain.
NOT_AVAILABLE = "55P03"


class Dialect:
    """A kind of database.

    Attributes:
        drivers: Python packages that speak to it, the first that is installed being taken.
        extra: of lrsearch, which installs the first.
        connect: arguments of a connection.
        now: asks for the time in seconds.
    """

    drivers: tuple[str, ...]
    extra: str
    connect: Mapping[str, Any]
    now: str

    def lock(self, connection: Connection, name: str) -> None:
        """Takes the lock of a name, which the connection's session holds from here on.

        Raises:
            SearchFailed: another session holds it and does not go on.
        """
        raise NotImplementedError

    def unlock(self, connection: Connection, name: str) -> None:
        """Frees it."""
        raise NotImplementedError

    def set_up(self, connection: Any) -> None:
        """Tells a new session, of the driver's own kind, what it needs to know."""

    def widen(self, connection: Connection) -> None:
        """Makes room in Optuna's tables for values of any length."""

    def is_lost(self, error: BaseException) -> bool:
        """Whether a driver's error is of the connection, and not of what was asked."""
        raise NotImplementedError

    def clock(self, connection: Connection) -> float:
        """Seconds by the server's clock, which all processes share."""
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
        # Without a code: there was no connection. Connections, shutdowns, deadlocks, crowds.
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return code is None or code.startswith(("08", "40", "57P", "53300"))

    def set_up(self, connection: Any) -> None:
        # Else the server keeps the locks of a machine that is gone.
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
        # Else the server keeps the locks of a machine that is gone; a session that was idle for
        # so long is opened again.
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION wait_timeout = 60")
        connection.commit()

    def widen(self, connection: Connection) -> None:
        # Its TEXT ends at 64 kB, which a trial of many seeds exceeds.
        for table in ("trial_user_attributes", "study_user_attributes"):
            columns = sqlalchemy.inspect(connection).get_columns(table)
            kind = next(c["type"] for c in columns if c["name"] == "value_json")
            if str(kind).upper() != "LONGTEXT":
                connection.execute(text(f"ALTER TABLE {table} MODIFY value_json LONGTEXT"))

    def _key(self, connection: Connection, name: str) -> str:
        """A lock's name; those are the whole server's, and at most 64 characters long."""
        whole = f"{connection.engine.url.database}/{name}"
        return f"lrsearch:{hashlib.sha256(whole.encode()).hexdigest()[:40]}"


_DIALECTS: dict[str, Dialect] = {
    "postgresql": _Postgres(),
    "mysql": _Mysql(),
    "mariadb": _Mysql(),
}


def dialect_of(url: sqlalchemy.URL) -> tuple[Dialect, sqlalchemy.URL]:
    """The kind of database that a URL names, and the URL with a driver that is installed.

    Raises:
        RequestError: none is installed.
    """
    dialect = _DIALECTS[url.get_backend_name()]
    if "+" in url.drivername:
        return dialect, url
    for driver in dialect.drivers:
        if importlib.util.find_spec(driver) is not None:
            name = driver.lower()
            return dialect, url.set(drivername=f"{url.get_backend_name()}+{name}")
    raise RequestError(
        f"storage {redact(url.render_as_string())} needs a driver, of "
        f"{' and '.join(dialect.drivers)} none is installed; "
        f"pip install 'lrsearch[{dialect.extra}]'"
    )


def _stuck(location: str) -> SearchFailed:
    return SearchFailed(
        f"another process has held the study's lock for {LOCK:g} s; find it ({location}) and "
        "end it"
    )


def _number(name: str) -> int:
    """A lock's key: PostgreSQL's are numbers of 64 bits, each database having its own."""
    digest = hashlib.sha256(f"lrsearch:{name}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
