"""JSON (a schedule for any budget) and CSV (learning rate, batch, momentum of every step)."""

from __future__ import annotations

import csv
import io
import json

from lrsearch.export.plan_checks import check_plan
from lrsearch.plan import Plan
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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("update", "lr", "batch", "momentum"))
    rows = zip(*plan.to_plain(), strict=True)
    writer.writerows((t, *row) for t, row in enumerate(rows))
    return text.getvalue()
