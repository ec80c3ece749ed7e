"""`Range` and `Choices`: the values that a search may use for a field of a Schedule.

The keys are those of Optuna: `low`, `high`, `log`, `step`, `choices`; a plain value fixes a
field. YAML files, the library and `--set` on the command line all use `check_entry`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from lrsearch.bounds import Bound
from lrsearch.errors import RequestError, closest, given
from lrsearch.schedule import FIELDS

Value = float | int | str

#: Patterns of numbers, including `1e-3`, which is text in YAML 1.1.
INT = re.compile(r"^[-+]?[0-9]+$")
FLOAT = re.compile(r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$")


@dataclass(frozen=True, kw_only=True)
class Range:
    """A range of numbers, both ends included.

    Attributes:
        low, high: the ends.
        log: True to search on a logarithmic scale.
        step: distance between grid points, which start at `low`; None for no grid.

    Example:
        >>> lrsearch.Range(low=1e-3, high=1e-1, log=True).middle
        0.01
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def clip(self, value: float) -> float:
        """Return the point of the range that is nearest to a value."""
        inside = min(max(value, self.low), self.high)
        if self.step is None:
            return inside
        # Rounding must not put the last point above the end: 0.1·3 is above 0.3.
        return min(self.low + self.step * round((inside - self.low) / self.step), self.high)

    def holds(self, value: Any) -> bool:
        """Return True if a value is in the range, and on its grid if it has one."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isclose(self.clip(value), value, rel_tol=1e-12)

    def at(self, unit: float, *, whole: bool = False) -> float:
        """Return the point at a fraction of the range.

        Args:
            unit: the fraction, in [0, 1].
            whole: True for integers, each with an equal share of the unit interval.
        """
        step = 1.0 if whole and self.step is None else self.step
        if self.log:
            ends = (self.low - 0.5, self.high + 0.5) if whole else (self.low, self.high)
            value = math.exp(math.log(ends[0]) + unit * math.log(ends[1] / ends[0]))
            return int(self.clip(round(value))) if whole else self.clip(value)
        if step is None:
            return min(self.low + unit * (self.high - self.low), self.high)  # rounding
        cells = math.floor((self.high - self.low) / step + 1e-9) + 1
        value = min(self.low + step * min(int(unit * cells), cells - 1), self.high)
        return int(value) if whole else value

    def place(self, value: float, *, whole: bool = False) -> float:
        """Return the fraction of the range at which a value is; the inverse of `at`.

        Args:
            value: a value of the range; of a grid, the middle of its cell is returned.
            whole: True for integers.
        """
        step = 1.0 if whole and self.step is None else self.step
        if self.log:
            low, high = (self.low - 0.5, self.high + 0.5) if whole else (self.low, self.high)
            return math.log(value / low) / math.log(high / low)
        if step is None:
            return (value - self.low) / (self.high - self.low)
        cells = math.floor((self.high - self.low) / step + 1e-9) + 1
        return (round((value - self.low) / step) + 0.5) / cells

    @property
    def middle(self) -> float:
        """The geometric mean of the ends on a logarithmic scale, else the arithmetic one."""
        return self.clip((self.low * self.high) ** 0.5 if self.log else (self.low + self.high) / 2)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as a mapping, as in a YAML file."""
        words: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            words["log"] = True
        if self.step is not None:
            words["step"] = self.step
        return words


@dataclass(frozen=True)
class Choices:
    """A set of values without an order.

    Attributes:
        values: at least two different values.

    Example:
        >>> space = lrsearch.Space.load("cosine").with_entries({"power": {"choices": [1.0, 2.0]}})
        >>> space.free["power"]
        Choices(values=(1.0, 2.0))
    """

    values: tuple[Value, ...]

    def holds(self, value: Any) -> bool:
        """Return True if a value is one of the choices."""
        return value in self.values

    def at(self, unit: float) -> Value:
        """Return the value at a fraction in [0, 1); each choice has an equal share."""
        return self.values[int(unit * len(self.values))]

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as a mapping, as in a YAML file."""
        return {"choices": list(self.values)}


Entry = Range | Choices | Value


def check_entry(name: str, entry: Any) -> Entry:
    """Return the range, choices or fixed value of a field.

    Args:
        name: a field of Schedule.
        entry: a Range, Choices, a plain value, or a mapping with the keys of Optuna.

    Raises:
        RequestError: the field or a key is unknown, or a value is outside the field's range.
    """
    if name not in FIELDS:
        raise RequestError(f"a Schedule has no field {name!r}{closest(name, FIELDS)}")
    bound = FIELDS[name]
    if isinstance(entry, Range | Choices):
        entry = entry.to_dict()
    if not isinstance(entry, Mapping):
        if entry is None:
            raise RequestError(f"{name} is empty; give a value, or low and high, or choices")
        return cast(Value, bound.check(name, entry))
    words = {"choices"} if "choices" in entry else {"low", "high", "log", "step"}
    for word in entry:
        if word not in words:
            known = {"low", "high", "log", "step", "choices"}
            raise RequestError(f"{name}: {word!r} is not allowed here{closest(str(word), known)}")
    if "choices" in entry:
        return _check_choices(name, bound, entry["choices"])
    return _check_range(name, bound, entry)


def _check_choices(name: str, bound: Bound, values: Any) -> Choices:
    if not isinstance(values, list | tuple) or len(values) < 2:
        raise RequestError(
            f"{name}: choices is {given(values)}; give a list of at least two values"
        )
    checked = tuple(bound.check(name, value) for value in values)
    if len(set(checked)) < len(checked):
        raise RequestError(f"{name}: choices {given(values)} repeats a value; give each once")
    return Choices(checked)


def _check_range(name: str, bound: Bound, words: Mapping[str, Any]) -> Range:
    if bound.kind == "name":
        raise RequestError(f"{name} takes {bound}; give one, or choices, not low and high")
    missing = [word for word in ("low", "high") if word not in words]
    if missing:
        raise RequestError(f"{name}: {missing[0]} is missing; a range needs low and high")
    low = bound.check(f"{name}: low", words["low"])
    high = bound.check(f"{name}: high", words["high"])
    log, step = words.get("log", False), words.get("step")
    if low is None or high is None or low >= high:
        raise RequestError(f"{name}: low {low} is not below high {high}; swap them or fix a value")
    if not isinstance(log, bool):
        raise RequestError(f"{name}: log is {log!r}; give true or false")
    if log and low <= 0:
        raise RequestError(f"{name}: log needs low above 0, not {low}; raise low or drop log")
    if step is not None:
        step = Bound(kind=bound.kind, low=0, open_low=True).check(f"{name}: step", step)
        if log:
            raise RequestError(f"{name}: log and step exclude each other; give one")
        if step > high - low:
            raise RequestError(f"{name}: step {step} is wider than the range; lower it")
    return Range(low=low, high=high, log=log, step=step)


def parse_setting(text: str, current: Entry | None = None) -> tuple[str, Entry]:
    """Parse `FIELD=VALUE`, `FIELD=LOW..HIGH` or `FIELD=A,B,C` from the command line.

    Args:
        text: the text.
        current: the current entry of the field. A new range keeps its logarithmic scale; a range
            of `peak` is always logarithmic.

    Raises:
        RequestError: the text cannot be parsed, or the value is not valid for the field.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or not value:
        raise RequestError(f"cannot read {text!r}; give FIELD=VALUE, FIELD=LOW..HIGH or FIELD=A,B")
    if ".." in value:
        low, _, high = value.partition("..")
        log = isinstance(current, Range) and current.log
        words = {"low": parse_value(low), "high": parse_value(high), "log": log or name == "peak"}
        return name, check_entry(name, words)
    if "," in value:
        return name, check_entry(name, {"choices": [parse_value(v) for v in value.split(",")]})
    return name, check_entry(name, parse_value(value))


def parse_value(text: str) -> Value:
    """Return a text as a number if it is one, else the text without outer spaces."""
    text = text.strip()
    if INT.match(text):
        return int(text) if len(text) < 19 else float(text)
    return float(text) if FLOAT.match(text) else text
