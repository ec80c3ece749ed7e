"""Records that could not be written to MLflow, kept in a file next to the study.

The file may come from a stranger. Only the times and the numbers of a trial are taken from it, and
only if it names this very study; everything else of a record is made from the study again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.codec import decode
from lrsearch.errors import log
from lrsearch.outcome import STORED_POINTS


@dataclass(frozen=True, kw_only=True)
class SpooledTrial:
    """The part of a spooled record that is used again.

    Attributes:
        state: state of the trial.
        began, ended: its times, in milliseconds since 1970.
        metrics: name, step and value of every number.
    """

    state: str
    began: int
    ended: int
    metrics: tuple[tuple[str, int, float], ...]


class Spool:
    """A file of child runs that are not in MLflow yet, one JSON object per line.

    The study's storage has these trials too, but only this file has their full curves.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, identity: str) -> dict[str, SpooledTrial]:
        """Return the trials of a study by key, without lines that are damaged or of other studies.

        Args:
            identity: id of the study.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:  # the file does not exist, or cannot be read
            return {}
        found = {}
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                key, trial = _read(json.loads(line), identity)
                found[key] = trial
        return found

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Replace the records of the file; delete the file if there are none."""
        lines = [json.dumps(r, allow_nan=False) for r in records if r["kind"] == "child"]
        try:
            if not lines:
                self.path.unlink(missing_ok=True)
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_suffix(".new")
            fresh.unlink(missing_ok=True)  # a link here could point to any file
            fresh.touch(mode=0o600, exist_ok=False)
            fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            log.warning(
                "cannot write %s: %s; `lrsearch sync` will upload the missing trials with at most "
                "%d points per curve",
                self.path,
                error.strerror,
                STORED_POINTS,
            )


def _read(record: Any, identity: str) -> tuple[str, SpooledTrial]:
    """Return the key of a record and what is used of it.

    Raises:
        ValueError: it is not a record of a trial of this study.
    """
    if not isinstance(record, dict):
        raise ValueError("a record is not an object")
    tags = decode(Mapping[str, str], record.get("tags"), "tags")
    if tags.get("lrsearch.id") != identity or tags.get("lrsearch.kind") != "trial":
        raise ValueError("a record is not a trial of this study")
    kept = {name: record.get(name) for name in ("began", "ended", "metrics")}
    state = tags.get("lrsearch.state")
    return tags.get("lrsearch.key", ""), decode(SpooledTrial, {"state": state, **kept}, "record")
