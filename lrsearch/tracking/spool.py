"""Records that could not be written to MLflow, kept in a file next to the study."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lrsearch.errors import log
from lrsearch.result import STORED_POINTS


class Spool:
    """A file of child runs that are not in MLflow yet, one JSON object per line.

    The study's storage has these trials too, but only this file has their full curves.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the records by key, without lines that a crash cut off."""
        found = {}
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        for line in text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                found[record["tags"]["lrsearch.key"]] = record
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
