"""Where a study is stored: its own journal file, or a database that many machines can reach."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.errors import RequestError
from lrsearch.redaction import HIDDEN, redact

#: Folder of the journal files if no storage is given.
FOLDER = "lrsearch-studies"
#: Databases that can store studies, by the first word of their URL.
SERVERS = ("postgresql", "mysql", "mariadb")

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

HERE = re.compile(r"^([^:/]+://(?:[^@/]*@)?)(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/?]|$)")

#: URLs with their passwords, by their redacted form, for the databases given to this process.
_known: dict[str, str] = {}


@dataclass(frozen=True)
class Location:
    """Where one study is stored.

    Attributes:
        study: name of the study.
        path: path of the journal file; None for a database.
        url: SQLAlchemy URL of the database, with its password; empty for a journal.
        here: folder that relative paths refer to; user code may change the working folder.
    """

    study: str
    path: Path | None
    url: str = field(default="", repr=False)
    here: Path = field(default_factory=Path.cwd, compare=False)

    @classmethod
    def of(cls, study: str, storage: str | Path | None = None) -> Location:
        """Return the location of a study.

        Args:
            study: name of the study.
            storage: path of a file that ends in `.journal`, or URL of a database; None means
                `lrsearch-studies/STUDY.journal`.

        Raises:
            RequestError: the name is not a safe file name, or the storage is neither a journal
                nor a database.
        """
        if not isinstance(study, str) or not SAFE_NAME.fullmatch(study):
            raise RequestError(
                f"study {study!r} is not a valid name; use at most 100 letters, digits, '.', '_' "
                "and '-', beginning with a letter or digit"
            )
        if storage is None:
            return cls(study, Path(FOLDER) / f"{study}.journal")
        if not isinstance(storage, str | Path):
            raise RequestError(
                f"storage is {storage!r}; give a path that ends in .journal, or the URL of a "
                "database"
            )
        storage = str(storage).removeprefix("journal:")
        if "://" in storage:
            return cls(study, None, _check_url(storage))
        if not storage.endswith(".journal"):
            raise RequestError(
                f"storage {redact(storage)!r} is not a journal file; give a path that ends in "
                ".journal, or a database such as postgresql://HOST/NAME"
            )
        return cls(study, Path(storage))

    def __str__(self) -> str:
        """Return the path, or the URL without its password."""
        return redact(self.url) if self.path is None else str(self.path)

    @property
    def option(self) -> str:
        """The option that names this location in a command; empty for the default."""
        return storage_option(self.study, str(self))

    def seen_from_elsewhere(self, host: str) -> str:
        """Return the location as text, with `host` in place of localhost in a URL."""
        return HERE.sub(rf"\1{host}", str(self))

    def beside(self, suffix: str) -> Path:
        """Return the path of a local file about the study, with the given suffix.

        The file is beside the study's journal; for a database, it is in the default folder.
        """
        if self.path is None:
            return self.here / FOLDER / f"{self.study}{suffix}"
        return (self.here / self.path).with_suffix(suffix)

    @property
    def runs(self) -> Path:
        """Folder that contains one folder per run."""
        if self.path is None:
            return self.beside(".runs")
        return (self.here / self.path).with_name(f"{self.study}.runs")


def run_folder(index: int, replicate: int) -> str:
    """Return the name of a run's folder in a search, within `Location.runs`."""
    return f"{index:04d}-{replicate}"


def storage_option(study: str, storage: str) -> str:
    """Return the option that names a study's storage in a command; empty for the default.

    Args:
        study: name of the study.
        storage: its storage, as the text of a `Location`.
    """
    if Path(storage).absolute() == Path(FOLDER, f"{study}.journal").absolute():
        return ""
    return f" --storage {shlex.quote(storage)}"


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
                f"storage {shown} lacks its password, which lrsearch never stores; give the URL "
                "with the password, or let the driver read it (PGPASSWORD, ~/.pgpass)"
            )
        return _known[shown]
    if shown != url:
        _known[shown] = url
    return url
