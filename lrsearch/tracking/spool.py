"""What MLflow could not be told, kept beside the study until it can."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lrsearch.errors import log


class Spool:
    """Child runs that are not in MLflow yet, one JSON object a line.

    The study's storage alone suffices to write them; these have the curves in full.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """The records by their key; a line that a crash has torn is left out."""
        found = {}
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        for line in text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                found[record["tags"]["lrsearch.key"]] = record
        return found

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Replaces what is kept; without records there is no file."""
        lines = [json.dumps(r, allow_nan=False) for r in records if r["kind"] == "child"]
        try:
            if not lines:
                self.path.unlink(missing_ok=True)
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_suffix(".new")
            fresh.unlink(missing_ok=True)  # and with it a link, which could lead anywhere
            fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            log.warning("cannot keep what MLflow missed in %s: %s", self.path, error.strerror)
