"""What a running command reports with `lrsearch.client`: a file of JSON lines that grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Name of the file, in the folder of the run.
NAME = "reports.jsonl"
#: Longest line, in bytes; a longer one was not written by the client.
LONGEST = 4096
#: Types of the numbers in each kind of message.
MESSAGES: tuple[dict[str, type], ...] = (
    {"rates": int},
    {"step": int, "loss": float},
    {"value": float},
)


class ClientReports:
    """The reports of one run, as a context manager.

    Args:
        path: their file. One of an earlier attempt is emptied.

    Attributes:
        asked: True if the command has asked for its learning rates.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._rest = b""
        self.asked = False

    def __enter__(self) -> ClientReports:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self) -> Iterator[dict[str, float]]:
        """Yield the reports since the last call: a `step` and its `loss`, or a `value`.

        Raises:
            ValueError: a line was not written by the client.
        """
        *lines, self._rest = (self._rest + self._file.readall()).split(b"\n")
        for line in lines:
            message = _parse(line)
            if "rates" in message:
                self.asked = True
            else:
                yield message
        if len(self._rest) > LONGEST:
            _parse(self._rest)


def _parse(line: bytes) -> dict[str, float]:
    """Return a message.

    Raises:
        ValueError: it is not one of the client's.
    """
    try:
        found: Any = json.loads(line) if len(line) <= LONGEST else None
    except (ValueError, RecursionError):
        found = None
    kinds = {name: type(each) for name, each in found.items()} if type(found) is dict else {}
    if kinds not in MESSAGES:
        raise ValueError(f"{NAME} has a line that was not written by lrsearch.client")
    return dict(found)
