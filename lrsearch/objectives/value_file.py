"""The value of a command from a JSON file that it writes, such as `results.json:eval.loss`."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.errors import RequestError, one_line
from lrsearch.objectives.placeholders import fill, used
from lrsearch.run import Run

#: Size and times of a file, which differ after it has been written; None if there is none.
Stamp = tuple[int, int, int] | None


#: The result of a path that leads nowhere.
_MISSING = object()


@dataclass(frozen=True)
class ValueFile:
    """A key of a JSON file.

    Attributes:
        text: `FILE:KEY`. FILE may have placeholders. KEY is a path such as `eval.loss`, or
            `log_history.-1.eval_loss` with indices of lists.

    Raises:
        RequestError: the text is not of this form.
    """

    text: str

    def __post_init__(self) -> None:
        file, _, key = self.text.rpartition(":")
        if not file or not key:
            raise RequestError(
                f"`value_from=` is {self.text!r}; give FILE:KEY, such as "
                "{folder}/results.json:eval.loss, or client"
            )
        used([file])

    @property
    def shared(self) -> bool:
        """True if all runs write the same file."""
        return not {"folder", "trial"} & set(used([self.text]))

    def path(self, run: Run) -> Path:
        """Return the file of a run."""
        return Path(fill([self.text.rpartition(":")[0]], run)[0])

    def stamp(self, run: Run) -> Stamp:
        """Return the current stamp of the file, to be compared when the run has ended."""
        try:
            found = self.path(run).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextlib.contextmanager
    def alone(self, run: Run) -> Iterator[None]:
        """Keep other runs on this machine from writing the file at the same time.

        Raises:
            ValueError: another run writes it.
        """
        name = hashlib.sha256(str(self.path(run).absolute()).encode()).hexdigest()[:16]
        user = os.getuid()
        with open(Path(tempfile.gettempdir()) / f"lrsearch-{user}-{name}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ValueError(
                    f"another run writes {self.path(run)} at the same time; give it a path that "
                    "contains {folder}"
                ) from error
            yield

    def read(self, run: Run, before: Stamp) -> float:
        """Return the value of a run.

        Args:
            run: the run, which has ended.
            before: the stamp of the file before the run.

        Raises:
            ValueError: the run did not write the file, or it has no such number.
        """
        path = self.path(run)
        now = self.stamp(run)
        if now is None:
            raise ValueError(f"the command wrote no file {path}")
        if now == before:
            raise ValueError(f"{path} is of an earlier run: the command did not write it")
        try:
            found = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a JSON file: {one_line(str(error))[:200]}") from error
        key = self.text.rpartition(":")[2]
        number = _look_up(found, key)
        if isinstance(number, bool) or not isinstance(number, int | float):
            if number is _MISSING:
                raise ValueError(f"{path} has no key {key}")
            raise ValueError(f"the value at key {key} of {path} is not a number")
        try:
            return float(number)
        except OverflowError:
            return float("inf")


def _look_up(found: Any, key: str) -> Any:
    """Return what a path leads to, or `_MISSING`; a key of an object may contain dots itself."""
    if isinstance(found, dict):
        if key in found:
            return found[key]
        places = [i for i, letter in enumerate(key) if letter == "."]
        for place in reversed(places):
            if key[:place] in found:
                return _look_up(found[key[:place]], key[place + 1 :])
        return _MISSING
    if isinstance(found, list):
        index, _, rest = key.partition(".")
        try:
            item = found[int(index)]
        except (ValueError, IndexError):
            return _MISSING
        return _look_up(item, rest) if rest else item
    return _MISSING
