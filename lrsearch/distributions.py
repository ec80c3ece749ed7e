"""Spaces as Optuna distributions, and schedules as their points."""

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
    """Return the Optuna distribution of every free field of a space."""
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
    """Return a schedule's values of the free fields, or None if the schedule is outside the space.

    Args:
        schedule: the schedule.
        searched: the distributions of the free fields.
    """
    fields = schedule.to_dict()
    point = {name: fields[name] for name in searched if fields[name] is not None}
    inside = len(point) == len(searched) and all(
        searched[n]._contains(searched[n].to_internal_repr(v)) for n, v in point.items()
    )
    return point if inside else None


def digest(schedule: Schedule) -> str:
    """Return a short hash of a schedule, for file names and keys."""
    return hashlib.sha256(repr(schedule).encode()).hexdigest()[:16]


def check_point(point: Mapping[str, Any], searched: Mapping[str, BaseDistribution]) -> None:
    """Check that a point has an allowed value for every free field.

    Args:
        point: values by field.
        searched: the distributions of the free fields.

    Raises:
        ValueError: a field is missing or unknown, or a value is not allowed.
    """
    inside = point.keys() == searched.keys() and all(
        searched[n]._contains(searched[n].to_internal_repr(v)) for n, v in point.items()
    )
    if not inside:
        raise ValueError(f"the point {dict(point)} is outside the space")
