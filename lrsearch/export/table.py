"""CSV: every update's learning rate, batch and momentum."""

from __future__ import annotations

import csv
import io

from lrsearch.schedule import Schedule

__all__ = ["to_csv"]


def to_csv(schedule: Schedule, steps: int, batch: int = 1, *, momentum: float = 0.0) -> str:
    """The plan as a table with the columns `update,lr,batch,momentum`, one row an update.

    Numbers are written in full: reading them back gives the plan's own float64s.

    Args:
        schedule: the recipe.
        steps: updates of the run.
        batch: samples of the first update.
        momentum: where the schedule names none.

    Raises:
        RequestError: the budget is too short for the recipe.
    """
    plan = schedule.plan(steps, batch, momentum=momentum)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("update", "lr", "batch", "momentum"))
    columns = (plan.lr.tolist(), plan.batch.tolist(), plan.momentum.tolist())
    writer.writerows((t, *row) for t, row in enumerate(zip(*columns, strict=True)))
    return text.getvalue()
