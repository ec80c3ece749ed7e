"""The exception tree, and the log.

Every message is one line that says what was given, what is allowed and what to do. The exit code
of the command line is an attribute of the class, so that no command decides it for itself.
"""

from __future__ import annotations

import difflib
import logging
import math
import reprlib
from collections.abc import Iterable

#: Warnings and notes of lrsearch; the command line writes them to standard error.
log = logging.getLogger("lrsearch")

#: Largest length of a message, in characters.
LONGEST_MESSAGE = 640

#: Quotes a given value in a message; deeply nested or long values are shortened.
_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxother = LONGEST_MESSAGE
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 16


class LrsearchError(Exception):
    """The root of every error that lrsearch raises on purpose.

    Args:
        message: one line.
        details: a traceback of the user's code, printed above the message, or nothing.

    Attributes:
        exit_code: exit code of the command line.
        details: the argument of this name.
    """

    exit_code = 1

    def __init__(self, message: str = "", details: str = "") -> None:
        super().__init__(_shorten(message))
        self.details = details


def _shorten(message: str) -> str:
    """Return a message without its middle if it is too long."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    return f"{message[: LONGEST_MESSAGE // 2]} … {message[-LONGEST_MESSAGE // 2 :]}"


def given(value: object) -> str:
    """Return a value as messages quote it, shortened if it is long."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"


def is_finite(number: float) -> bool:
    """Return whether a number is finite as a float, which an integer of 400 digits is not."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def real(value: object) -> float | None:
    """Return a user's value as a float, such as a number or a one-element tensor.

    Returns:
        the float, which may be infinite or NaN; None if it is not a number, or is an integer
        beyond the largest float.
    """
    if value is None or isinstance(value, bool | str | bytes | bytearray):
        return None
    try:
        # A tensor with a gradient graph warns when it is converted.
        return float(value.detach() if hasattr(value, "detach") else value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001  # `__float__` of a user's object may raise anything
        return None


class RequestError(LrsearchError, ValueError):
    """A value, a name or a file in the request is wrong. Nothing was started or changed."""

    exit_code = 2


class SearchFailed(LrsearchError, RuntimeError):
    """The search could not continue, for example because the objective kept raising errors.

    Attributes:
        result: the result of a search that was complete before a later part failed, else None.
    """

    exit_code = 1
    result: object = None


class NothingFinished(LrsearchError, RuntimeError):
    """The search ended and none of its trials finished."""

    exit_code = 3


class RunStopped(LrsearchError):
    """Raised by `Run.report` to end a run early. Do not catch it in an objective.

    Attributes:
        state: state of the outcome: `diverged`, `pruned`, or `failed` after a time limit.
    """

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def printable(text: str) -> str:
    """Return a text with `?` in place of control characters other than tabs and line breaks.

    A terminal would execute them, and a database refuses some of them.
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def closest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the nearest known one, and all.

    Args:
        name: the unknown name.
        known: the allowed names.

    Returns:
        `; did you mean 'warmup'? Known: …` or `; known: …`.
    """
    names = sorted(known)
    if not names:
        return "; there is none yet"
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(names)
    return f"; did you mean '{near[0]}'? Known: {listed}" if near else f"; known: {listed}"
