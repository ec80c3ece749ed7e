"""JSON (a schedule for any budget) and CSV (learning rate, batch, momentum of every step)."""

from __future__ import annotations

import json

from lrsearch.export.plan_checks import check_plan
from lrsearch.plan import Plan, csv_text
from lrsearch.schedule import Schedule


def to_json(schedule: Schedule) -> str:
    """Return the flat object of `Schedule.to_dict`, which `Schedule.from_json` reads back."""
    return json.dumps(schedule.to_dict(), indent=2) + "\n"


def to_csv(plan: Plan) -> str:
    """Return a plan as CSV with the columns `update,lr,batch,momentum`, one row per step.

    Numbers have full precision, so reading them gives the same float64 values.

    Raises:
        RequestError: the argument is not a Plan.
    """
    check_plan(plan, ignore_batch=True)
    return csv_text(plan)
