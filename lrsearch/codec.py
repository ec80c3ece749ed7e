"""One codec for everything that is stored or sent: values to JSON and back, by their type hints.

Decoding is the validation. A storage may come from an untrusted source, so a record cannot choose
a class, a file, a command or a server. The caller names the type, and every value must have
exactly the type that its field declares. Otherwise a ValueError names the position and the value.

A dataclass is stored as a JSON object of its fields, or by its methods `to_plain` and
`from_plain` if it has them. A field with the metadata `stored=False` is omitted. A missing field
takes its default, so a later version can add fields.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from lrsearch.errors import given

#: Printable text on one line. A terminal would execute some of the control characters.
Line = Annotated[str, "printable"]
#: Largest depth of nested lists and objects in a value of type `Any`.
DEEPEST = 16

Decoder = Callable[[Any, str], Any]


def encode(value: Any) -> Any:
    """Return a value in a form that `json.dumps` accepts."""
    if hasattr(value, "to_plain"):
        return value.to_plain()
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in _stored(type(value))}
    if isinstance(value, Mapping):
        return {name: encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decode(kind: Any, value: Any, where: str = "record") -> Any:
    """Return the value of a type that was encoded as a JSON value.

    Args:
        kind: a type: `str`, `Line`, `bool`, `int`, `float` (a finite number), None, `Any` (any
            JSON value), a tuple, a Mapping with strings as keys, a union, or a dataclass.
        value: a value that `json.loads` returned.
        where: name of the value, for the error message.

    Raises:
        ValueError: the value is not of that type. RequestError is a ValueError too.
    """
    return _decoder(kind)(value, where)


def _stored(kind: Any) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(kind) if f.init and f.metadata.get("stored", True)]


@functools.cache
def _decoder(kind: Any) -> Decoder:
    if kind in _SCALARS:
        return _SCALARS[kind]
    if hasattr(kind, "from_plain"):
        return lambda value, _: kind.from_plain(value)
    if dataclasses.is_dataclass(kind):
        return _object(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = _decoder(arguments[1])
        return lambda value, where: {
            name: inner(item, f"{where}.{name}") for name, item in _exactly(dict, value, where)
        }
    raise TypeError(f"no value of type {kind} can be stored")


def _object(kind: Any) -> Decoder:
    hints = get_type_hints(kind, include_extras=True)
    fields = {f.name: _decoder(hints[f.name]) for f in _stored(kind)}
    missing = dataclasses.MISSING
    needed = {
        f.name for f in _stored(kind) if f.default is missing and f.default_factory is missing
    }

    def decode_object(value: Any, where: str) -> Any:
        _expect(type(value) is dict, value, where)
        if not needed <= value.keys() <= fields.keys():
            raise _wrong(sorted(value), where)
        return kind(**{n: fields[n](item, f"{where}.{n}") for n, item in value.items()})

    return decode_object


def _union(kinds: tuple[Any, ...]) -> Decoder:
    def decode_union(value: Any, where: str) -> Any:
        if type(value) in kinds and type(value) in _SCALARS:
            return _SCALARS[type(value)](value, where)
        for kind in kinds[:-1]:
            try:
                return _decoder(kind)(value, where)
            except ValueError:
                continue
        return _decoder(kinds[-1])(value, where)

    # None is tried first, so the error message about a wrong `T | None` is the one of T.
    kinds = tuple(sorted(kinds, key=lambda kind: kind is not types.NoneType))
    return decode_union


def _tuple(kinds: tuple[Any, ...]) -> Decoder:
    if kinds[-1] is ...:
        each = _decoder(kinds[0])
        return lambda value, where: tuple(
            each(item, f"{where}[{i}]") for i, item in _exactly(list, value, where)
        )
    inner = [_decoder(kind) for kind in kinds]

    def decode_tuple(value: Any, where: str) -> tuple[Any, ...]:
        items = list(_exactly(list, value, where))
        _expect(len(items) == len(inner), value, where)
        return tuple(inner[i](item, f"{where}[{i}]") for i, item in items)

    return decode_tuple


def _exactly(kind: type, value: Any, where: str) -> Any:
    """Return the pairs of key and item of an object or an array."""
    _expect(type(value) is kind, value, where)
    return value.items() if kind is dict else enumerate(value)


def _scalar(kind: type) -> Decoder:
    def decode_scalar(value: Any, where: str) -> Any:
        _expect(type(value) is kind, value, where)
        return value

    return decode_scalar


def _float(value: Any, where: str) -> float:
    _expect(type(value) in (int, float) and abs(value) <= sys.float_info.max, value, where)
    return float(value)


def _line(value: Any, where: str) -> str:
    _expect(type(value) is str and value.isprintable(), value, where)
    return str(value)


def _any(value: Any, where: str, depth: int = 0) -> Any:
    _expect(depth < DEEPEST, "nested too deeply", where)
    if type(value) in (dict, list):
        for key, item in _exactly(type(value), value, where):
            _any(item, f"{where}.{key}", depth + 1)
    elif type(value) is float:
        _float(value, where)
    else:
        _expect(type(value) in (str, bool, int, types.NoneType), value, where)
    return value


_SCALARS: dict[Any, Decoder] = {
    **{kind: _scalar(kind) for kind in (str, bool, int, types.NoneType)},
    float: _float,
    Line: _line,
    Any: _any,
}


def _expect(holds: bool, value: Any, where: str) -> None:
    if not holds:
        raise _wrong(value, where)


def _wrong(value: Any, where: str) -> ValueError:
    text = value if type(value) is str else given(value)
    return ValueError(f"{where} is {text[:80]!r}")
