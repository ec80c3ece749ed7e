"""JSON: the recipe itself, for any budget."""

from __future__ import annotations

import json

from lrsearch.schedule import Schedule

__all__ = ["to_json"]


def to_json(schedule: Schedule) -> str:
    """The flat object of `Schedule.to_dict`, which `Schedule.from_json` reads back."""
    return json.dumps(schedule.to_dict(), indent=2) + "\n"
