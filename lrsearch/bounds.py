"""`Bound`: what a named value may be, and the sentence that says so.

The fields of a Schedule, the options of a built-in objective and the counts of a study are checked
by the same few lines, so that every refusal reads alike: what was given, what is allowed.
"""

from __future__ import annotations

import math
import numbers
import re
import sys
from dataclasses import dataclass, replace
from typing import Any

from lrsearch.errors import RequestError, closest, given

# Any, since a number of NumPy or of fractions compares with it, too.
_MAX_FLOAT: Any = sys.float_info.max
DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?)(s|m|h|d)?")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Bound:
    """What a field of a Schedule may hold.

    Attributes:
        kind: `float`, `int`, `name`, `text` for any words, such as a folder, or `duration` for
            seconds, given as a number or as `90s`, `15m`, `2h` or `1.5d`.
        low, high: the ends of the range (numbers only).
        open_low, open_high: whether that end itself is excluded.
        names: the allowed words; of an `int` those that may stand for a number.
        optional: whether None is allowed.
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
        """Returns the value as `float`, `int`, `str` or None.

        Raises:
            RequestError: it is not what the field may hold.
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
        # bool is an int to Python, and never a rate to a person.
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise RequestError(f"{name} is {given(value)}, which is no number; give {self}")
        # An integer can be too large for a float; NaN is refused as what is infinite.
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
    if not match or not float(match[1]):
        raise RequestError(f"{text!r} is no duration; give 90s, 15m, 2h or 1.5d")
    return float(match[1]) * SECONDS[match[2] or "s"]


#: What a number of updates, samples or trials may be.
COUNT = Bound(kind="int", low=1, high=1e12)

#: What a number of updates may be: a Plan holds three numbers for each.
STEPS = Bound(kind="int", low=1, high=1e7)

#: How many runs a trial may have.
SEEDS = Bound(kind="int", low=1, high=1000)
