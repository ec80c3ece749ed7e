"""A schedule as a Python function `get_lr(step)` without imports, to be pasted into a script.

It is the closed form of `lrsearch.export.closed_form` with Python's own operators in place of the
functions of `math`, so its values equal those of the plan up to rounding.
"""

from __future__ import annotations

import re

from lrsearch.curves import round_half_up
from lrsearch.export.closed_form import closed_form
from lrsearch.export.plan_checks import check_plan
from lrsearch.plan import Plan
from lrsearch.schedule import Schedule

#: Expressions of the closed form, and the same without imports. A negative number to a power that
#: is not whole is complex in Python: (-1) ** x = cos(πx) + i·sin(πx).
WITHOUT_IMPORTS = (
    (re.compile(r"math\.cos\(math\.pi \* (\(.*?\))\)"), r"((-1.0) ** \1).real"),
    (re.compile(r"math\.exp\("), "2.718281828459045 ** ("),
    (re.compile(r"math\.sqrt\((.*)\)"), r"(\1) ** 0.5"),
    (re.compile(r"math\.floor\("), "int("),
)


def to_python(schedule: Schedule, plan: Plan, *, ignore_batch: bool = False) -> str:
    """Return the source of `get_lr(step)`, and of `get_momentum(step)` if the momentum varies.

    A step after the last one gets the last rate.

    Args:
        schedule: the schedule.
        plan: the plan that was drawn from it.
        ignore_batch: True to leave a growing batch to the data loader; otherwise it is an error.

    Raises:
        RequestError: the batch grows, and `ignore_batch` is False.

    Example:
        >>> schedule = lrsearch.Schedule(peak=0.1, decay="polynomial")
        >>> names = {}
        >>> exec(lrsearch.export.to_python(schedule, schedule.plan(steps=4)), names)
        >>> [names["get_lr"](step) for step in (0, 2, 9)]
        [0.1, 0.05, 0.025]
    """
    check_plan(plan, ignore_batch=ignore_batch)
    head = f"# {schedule!r}, {len(plan)} steps, written by lrsearch\n"
    constant = bool((plan.momentum == plan.momentum[0]).all())
    width = round_half_up(schedule.smoothing * len(plan) / 2)
    averaged = bool(width) and constant and (plan.batch == plan.batch[0]).all()
    base = schedule.replace(smoothing=0.0) if averaged else schedule
    drawn = base.plan(len(plan), int(plan.batch[0])) if averaged else plan
    source = closed_form(base, drawn)
    if source is None:
        return head + _table(plan, constant=constant)
    for pattern, words in WITHOUT_IMPORTS:
        source = pattern.sub(words, source)
    step = f"min(step, {len(plan) - 1})"
    last = f"# the last rate after step {len(plan) - 1}"
    if averaged:
        return f"{head}{source}\n\n{_average(len(plan), width, last)}"
    if constant and source.count("def ") == 1:
        short = source.replace(
            "def rate_at(t: int) -> float:", "def get_lr(step: int) -> float:"
        ).replace(
            f'for t = 0 … {len(plan) - 1}."""\n', f'of the run."""\n    t = {step}  {last}\n'
        )
        return head + short.replace("learning rate of step t, of", "learning rate of a step of")
    functions = [_function("get_lr", "learning rate", f"rate_at({step})", last)]
    if not constant:
        functions.append(_function("get_momentum", "momentum", f"momentum_at({step})", ""))
    return "\n\n".join([head + source, *functions])


def _function(name: str, what: str, value: str, note: str) -> str:
    lines = (
        f"def {name}(step: int) -> float:",
        f'    """Return the {what} of a step of the run."""',
        f"    return {value}  {note}".rstrip(),
    )
    return "\n".join(lines) + "\n"


def _average(steps: int, width: int, last: str) -> str:
    """Return the function of a smoothed schedule: the mean over a window, with edge padding."""
    return (
        "def get_lr(step: int) -> float:\n"
        '    """Return the learning rate of a step of the run, a mean over a window of steps."""\n'
        f"    t = min(step, {steps - 1})  {last}\n"
        f"    window = range(t - {width}, t + {width + 1})\n"
        f"    return sum(rate_at(min(max(s, 0), {steps - 1})) for s in window) / len(window)\n"
    )


def _table(plan: Plan, *, constant: bool) -> str:
    """Return the functions of a plan without a closed form."""
    step = f"min(step, {len(plan) - 1})"
    parts = [f"RATES = {plan.lr.tolist()!r}\n"]
    parts.append(_function("get_lr", "learning rate", f"RATES[{step}]", ""))
    if not constant:
        parts[0] += f"MOMENTA = {plan.momentum.tolist()!r}\n"
        parts.append(_function("get_momentum", "momentum", f"MOMENTA[{step}]", ""))
    return "\n\n".join(parts)
