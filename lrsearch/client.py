"""A client for training scripts that `lrsearch tune ... -- COMMAND` runs.

Two lines connect a script to a search. Outside a search they do nothing, so they can stay:

    get_lr = lrsearch.client.rates(get_lr, steps=max_iters)  # after the script's own get_lr
    lrsearch.client.report(step, loss)                       # in its loop
    lrsearch.client.value(val_loss)                          # at its end; lower is better

This file needs only the standard library. A machine without lrsearch needs only a copy of it
beside the script: `import client`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable

__all__ = ["rates", "report", "value"]

#: Environment variable with the path of the CSV file of the run's learning rates.
PLAN = "LRSEARCH_RUN_PLAN"
#: Environment variable with the path of the file to which reports are appended, as JSON lines.
REPORTS = "LRSEARCH_RUN_REPORTS"


def rates(get_lr: Callable[[int], float], *, steps: int | None = None) -> Callable[[int], float]:
    """Return the function of the learning rate that the script is to use.

    Args:
        get_lr: the script's own learning rate, as a function of the step, which counts from 0.
        steps: the number of steps that the script trains, to compare it with that of the search.

    Returns:
        `get_lr` itself outside a search. In a search, the learning rate that the search tries. A
        step after the last one, such as an extra one for the final evaluation, gets the last rate.

    Raises:
        ValueError: the script trains another number of steps than the search plans.

    Example:
        >>> lrsearch.client.rates(lambda step: 0.1 / (step + 1), steps=10)(1)
        0.05
    """
    path = os.environ.get(PLAN)
    if path is None:
        return get_lr
    with open(path, newline="", encoding="utf-8") as file:
        planned = [float(row["lr"]) for row in csv.DictReader(file)]
    if steps is not None and steps != len(planned):
        raise ValueError(
            f"the script trains {steps} steps, but this run of the search has {len(planned)}; "
            f"give lrsearch tune --steps {steps}, or the script the placeholder {{steps}}"
        )
    _append({"rates": len(planned)})

    def get_planned_lr(step: int) -> float:
        if step < 0:
            raise ValueError(f"the step is {step}; give 0 for the first one")
        return planned[min(int(step), len(planned) - 1)]

    return get_planned_lr


def report(step: int, loss: float) -> None:
    """Report the training loss of a step, so that a run that diverges is ended.

    Args:
        step: index of the step, from 0.
        loss: its loss; a tensor with one element is converted.

    Example:
        >>> lrsearch.client.report(0, 2.5)
    """
    if REPORTS in os.environ:
        _append({"step": int(step), "loss": float(loss)})


def value(number: float) -> None:
    """Report the value of the run, such as its validation loss; lower is better.

    Args:
        number: the value. If it is reported several times, the last one counts, or the smallest
            with `--value-is min`.

    Example:
        >>> lrsearch.client.value(2.25)
    """
    if REPORTS in os.environ:
        _append({"value": float(number)})


def _append(message: dict[str, float]) -> None:
    """Append a message, unless this process is one of several ranks and not the first."""
    path = os.environ.get(REPORTS)
    if path is None or os.environ.get("RANK", "0") != "0":
        return
    # One write of one line: processes that append at the same time do not mix their lines.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, (json.dumps(message) + "\n").encode())
    finally:
        os.close(file)
