"""Maintenance: the state of studies, repair of journals, checks of an installation."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch.errors import LrsearchError, RequestError, SearchFailed
from lrsearch.study.location import FOLDER, SAFE_NAME, Location
from lrsearch.tracking.uri import check_uri, default_uri, reach

if TYPE_CHECKING:
    from lrsearch.study.repair import Repair
    from lrsearch.study.status import StudyStatus

#: Bytes of free disk space below which a search may fail; a trial needs some kilobytes.
ROOM = 200 * 2**20

PACKAGES = ("optuna", "torch", "numpy", "scipy", "scikit-learn", "mlflow", "click", "matplotlib")


def status(study: str | None = None, *, storage: str | Path | None = None) -> list[StudyStatus]:
    """Return the state of studies.

    Args:
        study: name of a study; None for every study of the database, or in `lrsearch-studies`.
        storage: storage of the study; None for `lrsearch-studies/STUDY.journal`.

    Returns:
        One state per study.

    Raises:
        RequestError: there is no such study, or `storage` is a journal and `study` is None.
    """
    from lrsearch.study.status import status_in, status_of
    from lrsearch.study.store import Store

    if study is not None:
        location = Location.of(study, storage)
        if location.path is not None and location.path.is_file():
            return [status_of(location)]
        # If there is no such study, the error of `read` lists the studies that exist.
        with Store.read(location) as store:
            return [status_in(store)]
    if storage is None:
        return _all_studies(Path(FOLDER))
    location = Location.of("any", storage)
    if location.path is not None:
        raise RequestError(
            "a journal can contain several studies; name one: lrsearch status STUDY"
        )
    return [status_of(Location.of(name, storage)) for name in Store.names(location)]


def _all_studies(folder: Path) -> list[StudyStatus]:
    """Return the state of every study in every journal of a folder."""
    from lrsearch.study.status import status_of, study_names_in

    return [
        status_of(Location(name, path))
        for path in sorted(folder.glob("*.journal"))
        if SAFE_NAME.fullmatch(path.stem)
        for name in study_names_in(Location(path.stem, path))
    ]


def repair(study: str, *, storage: str | Path | None = None) -> Repair:
    """Remove damaged records from a journal; the old file is kept under another name.

    Args:
        study: name of the study.
        storage: journal file; None for `lrsearch-studies/STUDY.journal`.

    Raises:
        RequestError: there is no such study, a process uses it, or its description is lost.
    """
    location = Location.of(study, storage)
    if location.path is None:
        raise RequestError(
            f"{location} is a database, which needs no repair; name a journal, a file that "
            "ends in .journal"
        )

    from lrsearch.study.repair import repair as repair_journal

    return repair_journal(study, location.path)


@dataclass(frozen=True)
class Check:
    """The result of one check of an installation.

    Attributes:
        name: what was checked.
        sound: True if the check passed.
        found: the value that was found; for a failed check, what is wrong and what to do.
    """

    name: str
    sound: bool
    found: str


def examine(*, storage: str | Path | None = None, tracking_uri: str | None = None) -> list[Check]:
    """Check an installation: versions, device, storage, tracking, free disk space.

    Args:
        storage: a journal file, in whose folder a file is written, or a database URL; None for
            `lrsearch-studies`.
        tracking_uri: MLflow tracking URI; None for MLflow's own setting.

    Raises:
        RequestError: the storage or the URI is not valid.
    """
    location = Location.of("doctor", storage)
    folder = location.beside("").parent if location.path is None else location.path.parent
    uri = check_uri(tracking_uri or default_uri())
    return [
        _look("python", lambda: f"{platform.python_version()} on {platform.platform()}"),
        *(_look(name, functools.partial(_version, name)) for name in ("lrsearch", *PACKAGES)),
        _look("device", _device),
        _look("storage", lambda: _storage(location, folder)),
        _look("disk", lambda: _free_space(folder)),
        _look("tracking", lambda: _tracking(uri)),
        _look("studies", lambda: _studies(folder)),
    ]


def _look(name: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(name, True, ask())
    except (LrsearchError, ImportError, OSError, RuntimeError) as error:
        return Check(name, False, " ".join(str(error).split()))


def _version(name: str) -> str:
    found = importlib.metadata.version(name)
    for line in importlib.metadata.requires("lrsearch") or ():
        needed = re.match(rf"{name}\s*>=\s*([\d.]+)$", line, re.IGNORECASE)
        if needed and _numbers(found) < _numbers(needed[1]):
            raise SearchFailed(f"{found} is older than {needed[1]}; pip install -U {name}")
    return found


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"no GPU that torch {torch.__version__} can use; {cores} CPU cores"


def _storage(location: Location, folder: Path) -> str:
    if location.path is None:
        return _database(location)
    from lrsearch.study.journal import open_journal
    from lrsearch.study.locks import FileLock

    with tempfile.TemporaryDirectory(dir=_nearest(folder), prefix=".lrsearch-") as name:
        path = Path(name) / "doctor.journal"
        with FileLock(path.with_suffix(".lock")):
            storage = open_journal(path)
            began = time.perf_counter()
            storage.create_new_study([], "doctor")
            seconds = time.perf_counter() - began
    return f"{folder} can be written and locked; writing a record takes {1000 * seconds:.1f} ms"


def _database(location: Location) -> str:
    """Lock and read a database; at most Optuna's tables are created."""
    from lrsearch.study.backend import begin

    kept = begin(location)
    began = time.perf_counter()
    with kept.lock:
        studies = len(kept.records.get_all_studies())
    kept.close()
    seconds = time.perf_counter() - began
    return (
        f"{location} can be locked and read in {1000 * seconds:.1f} ms; it has {studies} studies"
    )


def _nearest(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(location for location in (folder, *folder.absolute().parents) if location.is_dir())


def _free_space(folder: Path) -> str:
    free = shutil.disk_usage(_nearest(folder)).free
    if free < ROOM:
        raise SearchFailed(f"only {free / 2**20:.0f} MB free at {folder}; free some disk space")
    return f"{free / 2**30:.1f} GB free"


def _tracking(uri: str) -> str:
    return uri if uri == "none" else reach(uri)


def _studies(folder: Path) -> str:
    found = _all_studies(folder)
    troubles = [each.trouble for each in found if each.trouble]
    if troubles:
        raise SearchFailed(
            f"{len(troubles)} of {len(found)} studies cannot be read; the first: {troubles[0]}"
        )
    return f"{len(found)} in {folder}"
