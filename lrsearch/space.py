"""`Space`: ranges over the fields of a Schedule, read from YAML.

A space describes shape only, so one space fits every objective. A field that it does not name has
the objective's range or value (`peak`, `momentum`), or Schedule's default. The keys of a range
are those of Optuna: `low`, `high`, `log`, `step`, `choices`; a plain value fixes a field.

Files are read with PyYAML's safe loader, with limits of size and depth and without aliases, and
every error names its line. `1e-3` is a number here; in YAML 1.1 it is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from lrsearch.codec import Line, decode
from lrsearch.errors import RequestError, closest
from lrsearch.ranges import FLOAT, INT, Choices, Entry, Range, Value, check_entry
from lrsearch.schedule import FIELDS, Budget, Schedule

MAX_BYTES = 65_536
MAX_DEPTH = 6

#: The default schedule; the first trial of a search is the nearest point of the space.
USUAL: Mapping[str, Value] = MappingProxyType(
    {
        "warmup": 0.05,
        "hold": 0.0,
        "floor": 0.0,
        "power": 1.0,
        "bend": 0.5,
        "cycles": 1,
        "cycle_growth": 1.0,
        "cycle_damping": 1.0,
        "smoothing": 0.0,
        "batch_growth": 1.0,
        "coupling": 0.0,
        "momentum": 0.9,
        "decay": "cosine",
        "momentum_rule": "constant",
    }
)

#: Fields whose largest values are most likely to leave no decay phase or to contradict `momentum`.
REACHING = ("warmup", "hold", "cycles", "cycle_growth", "batch_growth", "momentum_low")


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space over the fields of a Schedule.

    Attributes:
        name: name of the space.
        about: one-line description.
        entries: a `Range`, `Choices` or a fixed value by field.

    Raises:
        RequestError: an entry is not a field of Schedule, or is outside its range.

    Example:
        >>> space = lrsearch.Space.load("cosine")
        >>> list(space.free)
        ['warmup', 'floor']
    """

    name: str
    about: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.entries, Mapping):
            raise RequestError(f"entries is {self.entries!r}; give a mapping of fields")
        checked = {name: check_entry(name, entry) for name, entry in self.entries.items()}
        ordered = {name: checked[name] for name in FIELDS if name in checked}
        object.__setattr__(self, "entries", MappingProxyType(ordered))

    @property
    def free(self) -> dict[str, Range | Choices]:
        """The fields that are searched."""
        return {n: e for n, e in self.entries.items() if isinstance(e, Range | Choices)}

    @property
    def fixed(self) -> dict[str, Value]:
        """The fields with a fixed value."""
        return {n: e for n, e in self.entries.items() if not isinstance(e, Range | Choices)}

    def with_entries(self, entries: Mapping[str, Any]) -> Space:
        """Return a copy with other entries for some fields.

        Raises:
            RequestError: an entry is not a field of Schedule, or is outside its range.
        """
        if not isinstance(entries, Mapping):
            raise RequestError(f"`settings=` is {entries!r}; give a mapping of fields")
        return Space(name=self.name, about=self.about, entries={**self.entries, **entries})

    def with_defaults(self, entries: Mapping[str, Any]) -> Space:
        """Return a copy with an objective's entries for fields that the space does not name."""
        return Space(name=self.name, about=self.about, entries={**entries, **self.entries})

    def schedule(self, values: Mapping[str, Any]) -> Schedule:
        """Return the Schedule of a point, which has a value for every free field."""
        return Schedule.from_dict({**self.fixed, **values})

    def default_point(self, own: Mapping[str, Value] = MappingProxyType({})) -> dict[str, Value]:
        """Return the point nearest to the default schedule, which a search tries first.

        Args:
            own: an objective's usual values of fields.
        """
        point: dict[str, Value] = {}
        for name, entry in self.free.items():
            usual = own.get(name, USUAL.get(name))
            if isinstance(entry, Choices):
                point[name] = usual if usual in entry.values else entry.values[0]
                continue
            value = entry.middle if usual is None else entry.clip(float(usual))
            point[name] = round(value) if FIELDS[name].kind == "int" else value
        return point

    def at(self, unit: Mapping[str, float]) -> dict[str, Value]:
        """Return the point at given fractions of its ranges.

        Args:
            unit: a number in [0, 1) for every free field. Evenly spaced numbers give evenly spaced
                points, on a logarithmic scale if the range has one.
        """
        return {
            name: entry.at(unit[name])
            if isinstance(entry, Choices)
            else entry.at(unit[name], whole=FIELDS[name].kind == "int")
            for name, entry in self.free.items()
        }

    def point(self, schedule: Schedule, budget: Budget) -> dict[str, Value] | None:
        """Return the point with the same plan as a schedule, or None if there is none.

        Raises:
            RequestError: the schedule has no plan within the budget.
        """
        given = {**schedule.to_dict(), "momentum": schedule.momentum or 0.0}
        point = {name: given[name] for name in self.free}
        if not all(entry.holds(point[name]) for name, entry in self.free.items()):
            return None
        return point if budget.plan(self.schedule(point)) == budget.plan(schedule) else None

    def check_budget(self, budget: Budget) -> int:
        """Check that the extreme schedules of the space have a plan within the budget.

        Returns:
            The largest batch size of these plans.

        Raises:
            RequestError: an extreme schedule has no decay phase, or contradicting momenta.
        """
        ranges = {n: entry for n, entry in self.free.items() if isinstance(entry, Range)}
        corner = {**self.default_point(), **{n: ranges[n].high for n in REACHING if n in ranges}}
        if "momentum" in ranges:
            corner["momentum"] = ranges["momentum"].low
        rules = self.free.get("momentum_rule")
        choices = rules.values if isinstance(rules, Choices) else (None,)
        largest = 0
        for rule in choices:
            point = corner if rule is None else {**corner, "momentum_rule": rule}
            try:
                plan = budget.plan(self.schedule(point))
            except RequestError as error:
                raise RequestError(f"space {self.name} has invalid schedules: {error}") from error
            largest = max(largest, int(plan.batch.max()))
        return largest

    def to_plain(self) -> dict[str, Any]:
        """Return the stored form: the name, and the entries with the keys of a YAML file."""
        return {"name": self.name, "entries": self.to_dict()}

    @classmethod
    def from_plain(cls, record: Any) -> Space:
        """Return the space that `to_plain` wrote.

        Raises:
            ValueError: the record has other keys or types.
            RequestError: an entry is not a field of Schedule, or is outside its range.
        """
        words = {"name": Line, "entries": Mapping[str, Any]}
        if type(record) is not dict or record.keys() != words.keys():
            raise ValueError("a space has a name and entries")
        return cls(**{name: decode(kind, record[name], name) for name, kind in words.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the entries as plain values, with the keys of a YAML file."""
        return {
            name: entry.to_dict() if isinstance(entry, Range | Choices) else entry
            for name, entry in self.entries.items()
        }

    def to_yaml(self) -> str:
        """Return YAML text from which `from_yaml` makes an equal space."""
        about = yaml.safe_dump(self.about, width=MAX_BYTES).removesuffix("...\n").rstrip("\n")
        # Text of several lines is quoted as in JSON, which is valid YAML.
        lines = ["about: " + (json.dumps(self.about) if "\n" in about else about)]
        for name, entry in self.to_dict().items():
            flow = yaml.safe_dump(entry, default_flow_style=True, width=10_000, sort_keys=False)
            lines.append(f"{name}: {flow.splitlines()[0]}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_yaml(cls, text: str, name: str = "space") -> Space:
        """Read a space from YAML text.

        Args:
            text: the YAML text.
            name: name of the space, and of the file in errors.

        Raises:
            RequestError: the text is not a valid space; the message names the line.
        """
        if not isinstance(text, str):
            raise RequestError(f"{name} is {text!r}; give the text of a YAML file")
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise RequestError(
                f"{name}: over {MAX_BYTES} bytes, too large for a space; see `lrsearch spaces`"
            )
        try:
            lines = _Loader.entries(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f", line {mark.line + 1}" if mark else ""
            raise RequestError(f"{name}{where}: {error.problem}; see `lrsearch spaces`") from error
        except yaml.YAMLError as error:
            detail = " ".join(str(error).split())
            raise RequestError(f"{name}: {detail}; see `lrsearch spaces`") from error
        except ValueError as error:  # a number of thousands of digits
            raise RequestError(f"{name}: {error}") from error
        about, entries = "", {}
        for line, word, content in lines:
            try:
                if word == "about" and isinstance(content, str):
                    about = content
                elif word == "about":
                    raise RequestError(f"about is {content!r}; give one line of text in quotes")
                else:
                    entries[word] = check_entry(word, content)
            except RequestError as error:
                raise RequestError(f"{name}, line {line}: {error}") from error
        return cls(name=name, about=about, entries=entries)

    @classmethod
    def load(cls, name: str) -> Space:
        """Load a shipped space by name, or a space from a file that ends in .yaml or .yml.

        Raises:
            RequestError: there is no such space, or the file cannot be read.
        """
        if not isinstance(name, str):
            raise RequestError(
                f"`space=` is {name!r}; give the name of a shipped space or a .yaml file"
            )
        shipped = shipped_spaces()
        if name in shipped:
            return cls.from_yaml(shipped[name].read_text(encoding="utf-8"), name)
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            raise RequestError(
                f"there is no space {name!r}{closest(name, shipped)}; or give a .yaml file"
            )
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(MAX_BYTES + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise RequestError(
                f"cannot read the space {name}: {reason}; check the path"
            ) from error
        return cls.from_yaml(text, path.stem)


def shipped_spaces() -> dict[str, Path]:
    """Return the files of the shipped spaces by name, in the wheel or next to the code."""
    package = Path(__file__).parent
    inside = package / "search_spaces"
    folder = inside if inside.is_dir() else package.parent / "search_spaces"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, without aliases, with limited depth."""

    depth = 0

    @classmethod
    def entries(cls, text: str) -> list[tuple[int, str, Any]]:
        """Return line, key and content of every entry of a document.

        Raises:
            yaml.YAMLError: the document is not a mapping, or a key occurs twice.
        """
        loader = cls(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise yaml.YAMLError("a space is a mapping of fields")
            return [
                (key.start_mark.line + 1, key.value, loader.construct_object(value, deep=True))
                for key, value in node.value
            ]
        finally:
            loader.dispose()

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            mark = key.start_mark
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.composer.ComposerError(None, None, "a key must be a word", mark)
            if key.value in seen:
                twice = f"{key.value} is given twice; keep one"
                raise yaml.composer.ComposerError(None, None, twice, mark)
            seen.add(key.value)
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed here", mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", re.compile(r"^(~|null|)$"), ["~", "n", ""]),
    ("bool", re.compile(r"^(true|false)$"), list("tf")),
    ("int", INT, list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
