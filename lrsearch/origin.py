"""What a study stores of the user's code, so that other code is not answered with its results.

The text of the code is not compared, because it may be edited between two searches; increase the
objective's version if its values change.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import inspect
import shlex
import types
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

#: Name under which a study stores its command line, if it runs a command.
COMMAND_LINE = "command line"
#: Largest length of a stored text; a longer one is stored as its digest.
LONGEST = 80
#: Number of functions that are followed, each a value of the one before.
DEPTH = 3


Origin = dict[str, str | None]


def origin_of(function: Any) -> Origin:
    """Return the file of a function and the values that it carries, by name.

    The values are the arguments of a `functools.partial`, the variables of enclosing functions,
    the defaults of parameters and the attributes of an object. The value is None if it cannot be
    compared, such as a model, or a list that a run may extend.

    Args:
        function: the user's function, or an object that can be called.
    """
    found: Origin = {}
    base = _collect(function, found, DEPTH)
    if base is not None and (place := file_of(base)):
        found["file"] = place
    return found


def _collect(function: Any, found: Origin, depth: int) -> types.FunctionType | None:
    """Add the values of a function to those found, and return the plain function below it."""
    if isinstance(function, functools.partial):
        named = {f"argument {i + 1}": value for i, value in enumerate(function.args)}
        for name, value in {**named, **function.keywords}.items():
            _add(name, value, found, depth)
        return _collect(function.func, found, depth)
    if isinstance(function, types.MethodType):
        if not isinstance(function.__self__, type):
            _add_attributes(function.__self__, found, depth)
        return _collect(function.__func__, found, depth)
    if not isinstance(function, types.FunctionType):
        call = type(function).__call__
        if not isinstance(call, types.FunctionType):
            return None
        _add_attributes(function, found, depth)
        return call
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            _add(parameter.name, parameter.default, found, depth)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell: a variable that is set later
            _add(name, cell.cell_contents, found, depth, changes=True)
    return function


def _add_attributes(owner: Any, found: Origin, depth: int) -> None:
    for name, value in getattr(owner, "__dict__", {}).items():
        _add(name, value, found, depth, changes=True)


def _add(name: str, value: Any, found: Origin, depth: int, *, changes: bool = False) -> None:
    """Add a value by its name, and the values of a function that it may be.

    Args:
        name: name of the value.
        value: the value.
        found: the values so far.
        depth: number of functions that are still followed.
        changes: True if a run may change the value in place, or if it is the owner's private one.
    """
    if callable(value) and hasattr(value, "__qualname__"):
        found.setdefault(name, f"{value.__module__}.{value.__qualname__}")
        if depth and isinstance(value, types.FunctionType):
            below: Origin = {}
            _collect(value, below, depth - 1)
            found.update({f"{name}.{inner}": each for inner, each in below.items()})
        return
    own = changes and (name.startswith("_") or isinstance(value, dict | list | set))
    found.setdefault(name, None if own else describe(value))


def describe(value: Any) -> str | None:
    """Return a text that is equal for equal values, or None for a value that has no such text."""
    text = _text(value)
    if text is None or len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{text[: LONGEST // 2]}… (digest {digest})"


def _text(value: Any) -> str | None:
    if isinstance(value, enum.Enum):
        return str(value)
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return repr(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        pairs = [(_text(key), _text(each)) for key, each in value.items()]
        known = [f"{key}: {each}" for key, each in pairs if key is not None and each is not None]
        return f"{{{', '.join(known)}}}" if len(known) == len(pairs) else None
    if isinstance(value, list | tuple | set | frozenset):
        texts = [_text(each) for each in value]
        known = [each for each in texts if each is not None]
        if isinstance(value, set | frozenset):
            known.sort()
        return f"[{', '.join(known)}]" if len(known) == len(texts) else None
    return _array(value)


def _array(value: Any) -> str | None:
    """Return the shape, type and digest of an array or a tensor in memory."""
    shape, kind = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or kind is None:
        return None
    try:
        plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        digest = hashlib.sha256(plain.tobytes()).hexdigest()[:12]
    except (AttributeError, TypeError, RuntimeError):  # a sparse tensor, bfloat16, a data frame
        return None
    return f"array of shape {tuple(shape)}, {kind}, digest {digest}"


def file_of(function: types.FunctionType) -> str:
    """Return the file of a function: a path below the current folder, or the module's name.

    The name of an installed module is the same on every machine, its path is not.
    """
    path, module = Path(function.__code__.co_filename), str(function.__module__)
    if not path.is_file() or module.partition(".")[0] == "lrsearch":
        return ""
    absolute, here = path.resolve(), Path.cwd().resolve()
    if absolute.is_relative_to(here):
        return absolute.relative_to(here).as_posix()
    loaded = module.startswith("lrsearch_user_") or "." not in module  # a file, not a package
    return str(absolute) if loaded else module


def command_words(origin: Mapping[str, Any]) -> str:
    """Return how `lrsearch` is given a stored command: its options, `--` and the command line."""
    options = [
        f"--{name[1:-2].replace('_', '-')} {shlex.quote(str(text))}"
        for name, text in origin.items()
        if name.startswith("`")
    ]
    return " ".join([*options, "--", str(origin[COMMAND_LINE])])


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return how the user's code differs, such as `file was a/train.py, is now b/train.py`.

    Args:
        then: what the study stores; empty for a study that stores nothing.
        now: what it is now.
    """
    if not then:
        return []
    found = []
    for name in {**then, **now}:
        old, new = then.get(name, "not there"), now.get(name, "not there")
        if old != new and None not in (old, new):
            found.append(f"{name} was {old}, is now {new}")
    return found
