"""Where a study lives: a journal file of its own, or a database that many machines reach."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.errors import RequestError
from lrsearch.redaction import HIDDEN, redact

#: Where journal files live when no storage is named.
FOLDER = "lrsearch-studies"
#: The databases that hold studies, by the first word of their URL.
SERVERS = ("postgresql", "mysql", "mariadb")

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

HERE = re.compile(r"^([^:/]+://(?:[^@/]*@)?)(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/?]|$)")

#: URLs with their passwords, by how they are shown: of databases that this process was given.
_known: dict[str, str] = {}


@dataclass(frozen=True)
class Location:
    """Where one study lives.

    Attributes:
        study: its name.
        path: its journal file; None for a database.
        url: of the database, as SQLAlchemy writes it and with its password; empty for a file.
        here: the folder that relative paths are of; user code may change the process's.
    """

    study: str
    path: Path | None
    url: str = field(default="", repr=False)
    here: Path = field(default_factory=Path.cwd, compare=False)

    @classmethod
    def of(cls, study: str, storage: str | Path | None = None) -> Location:
        """The place of a study.

        Args:
            study: its name.
            storage: a file that ends in `.journal`, or the URL of a database; None is
                `lrsearch-studies/STUDY.journal`.

        Raises:
            RequestError: the name is unsafe as a file's, or the storage is neither.
        """
        if not isinstance(study, str) or not SAFE_NAME.fullmatch(study):
            raise RequestError(
                f"study {study!r} is no safe name; use at most 100 letters, digits, '.', '_' and "
                "'-', a letter or digit first"
            )
        if storage is None:
            return cls(study, Path(FOLDER) / f"{study}.journal")
        if not isinstance(storage, str | Path):
            raise RequestError(
                f"storage is {storage!r}; give a path that ends in .journal, or a database's URL"
            )
        storage = str(storage).removeprefix("journal:")
        if "://" in storage:
            return cls(study, None, _check_url(storage))
        if not storage.endswith(".journal"):
            raise RequestError(
                f"storage {redact(storage)!r} is no journal file; end its name in .journal, or "
                "give a database such as postgresql://HOST/NAME"
            )
        return cls(study, Path(storage))

    def __str__(self) -> str:
        """For people, and for records: without a password."""
        return redact(self.url) if self.path is None else str(self.path)

    def seen_from_elsewhere(self, host: str) -> str:
        """As it is shown, a database of this machine by the machine's name."""
        return HERE.sub(rf"\1{host}", str(self))

    def beside(self, suffix: str) -> Path:
        """A file of this machine's about the study: beside its journal, or where those are."""
        if self.path is None:
            return self.here / FOLDER / f"{self.study}{suffix}"
        return (self.here / self.path).with_suffix(suffix)

    @property
    def runs(self) -> Path:
        """Where its runs have their folders."""
        if self.path is None:
            return self.beside(".runs")
        return (self.here / self.path).with_name(f"{self.study}.runs")


def _check_url(url: str) -> str:
    scheme = url.partition("://")[0]  # the rest may hold a password
    if scheme.partition("+")[0] not in SERVERS:
        raise RequestError(
            f"storage {scheme}://… is neither a PostgreSQL nor a MySQL database; give "
            "postgresql://USER@HOST/NAME, mysql+pymysql://USER@HOST/NAME, or a path that ends in "
            ".journal"
        )
    shown = redact(url)
    if HIDDEN in url:
        if shown not in _known:
            raise RequestError(
                f"storage {shown} has lost its password, which is never kept; give the URL with "
                "it, or leave it to the driver (PGPASSWORD, ~/.pgpass)"
            )
        return _known[shown]
    if shown != url:
        _known[shown] = url
    return url
