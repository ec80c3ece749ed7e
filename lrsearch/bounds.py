"""`Bound`: the allowed values of a named argument, and the error message about other values.

The fields of a Schedule, the options of a built-in objective and the settings of a study are all
checked here, so all error messages have the same form: the given value, then the allowed values.
"""

from __future__ import annotations

import math
import numbers
import re
import sys
from dataclasses import dataclass, replace
from typing import Any

from lrsearch.errors import RequestError, closest, given

# Typed as Any because numbers of NumPy and of `fractions` are compared with it.
_MAX_FLOAT: Any = sys.float_info.max
DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?)(s|m|h|d)?")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Bound:
    """The allowed values of an argument.

    Attributes:
        kind: `float`, `int`, `name`, `text` for any text such as a folder, or `duration` for
            seconds, given as a number or as `90s`, `15m`, `2h` or `1.5d`.
        low, high: the ends of the range (numbers only).
        open_low, open_high: True if that end is excluded.
        names: the allowed words; for an `int`, words that are allowed besides numbers.
        optional: True if None is allowed.
    """

    kind: str = "float"
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    names: tuple[str, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        if self.kind == "text":
            return "text"
        if self.kind == "name":
            return "one of " + ", ".join(self.names)
        if self.names:
            return " or ".join([*self.names, str(replace(self, names=()))])
        article = "an integer" if self.kind == "int" else "a number"
        if self.high == math.inf:
            return f"{article} {'above' if self.open_low else 'of at least'} {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"{article} in {left}{self.low:g}, {self.high:g}{right}"

    def check(self, name: str, value: Any) -> Any:
        """Return the value as `float`, `int`, `str` or None.

        Args:
            name: name of the argument, for the error message.
            value: the given value.

        Raises:
            RequestError: the value is not allowed.
        """
        if value is None and self.optional:
            return None
        if self.kind == "text":
            if isinstance(value, str) and value and value.isprintable():
                return value
            raise RequestError(f"{name} is {given(value)}; give text without control characters")
        if self.kind == "name":
            return self._name(name, value)
        if self.kind == "duration":
            return _seconds(value)
        if self.names and isinstance(value, str):
            if value in self.names:
                return value
            if not value.isdecimal():
                raise RequestError(f"{name} is {given(value)}; give {self}")
            value = int(value)
        return self._number(name, value)

    def _name(self, name: str, value: Any) -> str:
        if isinstance(value, str) and value in self.names:
            return value
        known = f"; known: {', '.join(self.names)}"
        hint = closest(value, self.names) if isinstance(value, str) else known
        raise RequestError(f"{name} is {given(value)}{hint}")

    def _number(self, name: str, value: Any) -> float:
        # True and False are integers in Python, but not accepted as numbers here.
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise RequestError(f"{name} is {given(value)}, which is not a number; give {self}")
        # An integer may be too large for a float. NaN becomes inf here and is rejected below.
        number = float(value) if abs(value) <= _MAX_FLOAT else math.inf
        inside = (self.low < number if self.open_low else self.low <= number) and (
            number < self.high if self.open_high else number <= self.high
        )
        if not (math.isfinite(number) and inside) or (
            self.kind == "int" and number != int(number)
        ):
            raise RequestError(f"{name} is {given(value)}; give {self}")
        return int(number) if self.kind == "int" else number


def _seconds(value: Any) -> float:
    text = str(value).strip()
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) * SECONDS[match[2] or "s"] if match else 0.0
    if not 0 < seconds < math.inf:
        raise RequestError(
            f"{given(text)} is not a duration; give seconds, or 90s, 15m, 2h or 1.5d"
        )
    return seconds


#: Allowed numbers of samples or trials.
COUNT = Bound(kind="int", low=1, high=1e12)

#: Allowed numbers of steps: a Plan stores three numbers for each step.
STEPS = Bound(kind="int", low=1, high=1e7)

#: Allowed numbers of runs per trial.
SEEDS = Bound(kind="int", low=1, high=1000)
