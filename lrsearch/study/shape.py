"""What a stored record looks like: everything read from a storage is held against it first.

A storage may come from anywhere, and JSON says nothing of what it holds.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["COMPARISON_SHAPE", "LINE", "OUTCOME", "STUDY", "TRIAL", "conform"]

LINE = "line"

STUDY = {
    "schema": int,
    "name": LINE,
    "id": LINE,
    "objective": LINE,
    "options": {str: object},
    "version": int,
    "direction": LINE,
    "space": {"name": LINE, "entries": {str: object}},
    "steps": int,
    "batch": int,
    "seeds": int,
    "seed": int,
    "pruner": LINE,
    "unit": LINE,
    "momentum": float,
}
OUTCOME = {
    "trial": int,
    "replicate": int,
    "state": str,
    "value": (None, float),
    "updates": int,
    "reason": str,
    "details": str,
    "traces": {str: [[float]]},
    "figures": {str: float},
    "seconds": float,
    "probing": float,
    "retries": int,
}
TRIAL = {
    "study": str,
    "index": int,
    "state": str,
    "schedule": {str: object},
    "outcomes": [OUTCOME],
    "told": (None, float),
}
CONTENDER = {
    "name": LINE,
    "schedule": {str: object},
    "values": [(None, float)],
    "peaks": [float],
    "selection": [(None, float)],
    "losses": [[[float]]],
}
COMPARISON_SHAPE = {
    "unit": LINE,
    "exact": bool,
    "best": CONTENDER,
    "baselines": [CONTENDER],
    "best_baseline": LINE,
    "candidates": int,
    "seeds": int,
    "runs": int,
    "importance": {str: float},
}


def conform(value: Any, shape: Any, where: str = "record") -> None:
    """Checks a JSON value.

    Args:
        value: as `json.loads` made it.
        shape: `str`, `LINE` (printable text: a terminal obeys what is not), `bool`, `int`,
            `float` (any finite number), None, or `object` for anything;
            a tuple of shapes, one of which it must have; `[shape]`, a list of such;
            `{str: shape}`, names with such; or `{"name": shape, …}`, exactly these names.
        where: what is checked, for the message.

    Raises:
        ValueError: with the place and what stands there.
    """
    if shape is object:
        return
    if isinstance(shape, tuple):
        _one_of(value, shape, where)
    elif isinstance(shape, list):
        _expect(isinstance(value, list), value, where)
        for i, item in enumerate(value):
            conform(item, shape[0], f"{where}[{i}]")
    elif isinstance(shape, dict):
        _expect(isinstance(value, dict), value, where)
        names = dict.fromkeys(value, shape[str]) if str in shape else shape
        _expect(set(names) == set(value), sorted(value), where)
        for name, inner in names.items():
            conform(value[name], inner, f"{where}.{name}")
    elif shape is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _expect(number and math.isfinite(value), value, where)
    elif shape == LINE:
        _expect(isinstance(value, str) and value.isprintable(), value, where)
    elif shape is None:
        _expect(value is None, value, where)
    else:
        _expect(type(value) is shape, value, where)


def _one_of(value: Any, shapes: tuple[Any, ...], where: str) -> None:
    for shape in shapes[:-1]:
        try:
            conform(value, shape, where)
        except ValueError:
            continue
        return
    conform(value, shapes[-1], where)


def _expect(holds: bool, value: Any, where: str) -> None:
    if not holds:
        raise ValueError(f"{where} is {str(value)[:80]!r}")
