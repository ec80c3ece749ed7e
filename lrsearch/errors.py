"""The exception tree, and the log.

Every message is one line that says what was given, what is allowed and what to do. The exit code
of the command line is an attribute of the class, so that no command decides it for itself.
"""

from __future__ import annotations

import difflib
import logging
import reprlib
from collections.abc import Iterable

#: What lrsearch says beside its results; the command line writes it to standard error.
log = logging.getLogger("lrsearch")

#: Characters of a message.
LONGEST_MESSAGE = 640

#: What was given, as a message shows it: nested without end or endlessly long, it is cut.
_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = LONGEST_MESSAGE
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 16


class LrsearchError(Exception):
    """The root of every error that lrsearch raises on purpose.

    Args:
        message: one line.
        details: a traceback of the user's code, which is shown above the message.

    Attributes:
        exit_code: what the command line exits with.
        details: as above; often empty.
    """

    exit_code = 1

    def __init__(self, message: str = "", details: str = "") -> None:
        super().__init__(_shorten(message))
        self.details = details


def _shorten(message: str) -> str:
    """A message without the middle of what was given, where that is long."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    return f"{message[: LONGEST_MESSAGE // 2]} … {message[-LONGEST_MESSAGE // 2 :]}"


def given(value: object) -> str:
    """Return a value as a message quotes it."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"


class RequestError(LrsearchError, ValueError):
    """The request was wrong: a value, a name, a file. Nothing was started or changed."""

    exit_code = 2


class SearchFailed(LrsearchError, RuntimeError):
    """The search could not go on, for example because the objective kept raising.

    Attributes:
        result: of a search that ended before what followed it failed, else None.
    """

    exit_code = 1
    result: object = None


class NothingFinished(LrsearchError, RuntimeError):
    """The search ended, and not one of its trials finished."""

    exit_code = 3


class RunStopped(LrsearchError):
    """Raised by `Run.report` to end a run that is hopeless. An objective lets it pass.

    Attributes:
        state: the outcome's state, `diverged` or `pruned`.
    """

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def one_line(text: str) -> str:
    """A text without line breaks and without what a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def closest(name: str, known: Iterable[str]) -> str:
    """Ends an error message about an unknown name: the nearest known one, and all of them.

    Args:
        name: what was given.
        known: the names that are allowed.

    Returns:
        `; did you mean 'warmup'? Known: …` or `; known: …`.
    """
    names = sorted(known)
    if not names:
        return "; there is none yet"
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(names)
    return f"; did you mean '{near[0]}'? Known: {listed}" if near else f"; known: {listed}"
