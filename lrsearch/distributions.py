"""A space in Optuna's words, and schedules as its points."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from lrsearch.ranges import Choices
from lrsearch.schedule import FIELDS, Schedule
from lrsearch.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space in Optuna's words."""
    made: dict[str, BaseDistribution] = {}
    for name, entry in space.free.items():
        if isinstance(entry, Choices):
            made[name] = CategoricalDistribution(entry.values)
        elif FIELDS[name].kind == "int":
            step = 1 if entry.step is None else int(entry.step)
            made[name] = IntDistribution(int(entry.low), int(entry.high), entry.log, step)
        else:
            made[name] = FloatDistribution(entry.low, entry.high, entry.log, entry.step)
    return made


def point_within(
    schedule: Schedule, searched: Mapping[str, BaseDistribution]
) -> dict[str, Any] | None:
    """A schedule's values of the free fields, or None where it lies outside of them."""
    fields = schedule.to_dict()
    point = {name: fields[name] for name in searched if fields[name] is not None}
    inside = len(point) == len(searched) and all(
        searched[n]._contains(searched[n].to_internal_repr(v)) for n, v in point.items()
    )
    return point if inside else None


def digest(schedule: Schedule) -> str:
    """A short name of a schedule, for files and keys."""
    return hashlib.sha256(repr(schedule).encode()).hexdigest()[:16]


def check_point(point: Mapping[str, Any], searched: Mapping[str, BaseDistribution]) -> None:
    """Check that a point has a value of the space for every free field.

    Raises:
        ValueError: it has not.
    """
    inside = point.keys() == searched.keys() and all(
        searched[n]._contains(searched[n].to_internal_repr(v)) for n, v in point.items()
    )
    if not inside:
        raise ValueError(f"the point {dict(point)} is none of the space's")
