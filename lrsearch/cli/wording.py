"""Messages of the library, in the words of the command line.

The library names arguments, in backticks: `study=`, `device="cpu"`. On the command line the same
things are options: `--study`, `--device cpu`.
"""

from __future__ import annotations

import logging
import re

from lrsearch.errors import printable

#: Arguments whose option has another form: a mapping becomes a repeated option.
_MAPPINGS = {"settings": "--set", "options": "--with"}
#: An argument in a message, with its value or without.
_ARGUMENT = re.compile(r"`([a-z_]+)=([^`]*)`")


def as_options(message: str) -> str:
    """Return a message in which arguments are written as options.

    Args:
        message: text in which arguments stand in backticks, as `` `study=` `` or
            `` `device="cpu"` ``.

    Returns:
        The text with `--study` or `--device cpu` in their place.
    """
    return _ARGUMENT.sub(_as_option, message)


def _as_option(argument: re.Match[str]) -> str:
    name, value = argument.groups()
    if name in _MAPPINGS:
        pair = re.fullmatch(r"\{['\"]?(\w+)['\"]?: ?(.+)\}", value)
        return _MAPPINGS[name] + (f" {pair[1]}={_as_range(pair[2])}" if pair else "")
    if (name, value) == ("compare", "False"):
        return "--no-compare"
    option = f"--{name.replace('_', '-')}"
    return f"{option} {_unquoted(value)}" if value else option


def _as_range(value: str) -> str:
    ends = re.fullmatch(r"\{.low.: (.+), .high.: (.+)\}", value)
    return f"{ends[1]}..{ends[2]}" if ends else _unquoted(value)


def _unquoted(value: str) -> str:
    return value.strip("\"'")


class OptionFormatter(logging.Formatter):
    """A log formatter that writes options in place of arguments."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
        return printable(as_options(super().format(record)))
