"""A schedule as Python functions of the step, which need only `math`.

The functions repeat the arithmetic of `Schedule.plan` in the same order, so their values are those
of the plan, bit for bit with the same C library. A smoothed schedule has no closed form, because
each of its rates is a mean over a window of steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from lrsearch.curves import DECAYS, cycle_bounds, spline_knots
from lrsearch.errors import RequestError
from lrsearch.plan import Plan
from lrsearch.schedule import Schedule

#: Largest number of cycles; more are a table in any case.
MOST_CYCLES = 100


def closed_form(schedule: Schedule, plan: Plan) -> str | None:
    """Return functions `rate_at(t)`, and `momentum_at(t)` if it varies, as Python source.

    Args:
        schedule: a schedule.
        plan: the plan that was drawn from it.

    Returns:
        the source without imports, or None if there is no closed form of this plan.
    """
    batch = int(plan.batch[0])
    steps = plan.samples // batch
    if schedule.smoothing or schedule.cycles > MOST_CYCLES:
        return None
    try:
        if schedule.plan(steps, batch) != plan:
            return None  # the plan was drawn from another schedule
    except RequestError:
        return None
    if schedule.batch_growth != 1.0 and schedule.coupling != 0.0:
        uncoupled = "uncoupled_rate_at"
        own = _rate(schedule, len(plan), uncoupled, "at the first batch size")
        parts = [_batch_size(schedule, plan), own, _coupled_rate(schedule, plan)]
    else:
        uncoupled = "rate_at"
        parts = [_rate(schedule, len(plan), uncoupled, f"for t = 0 … {len(plan) - 1}")]
    if (plan.momentum != plan.momentum[0]).any():
        top = schedule.replace(coupling=0.0).plan(steps, batch).lr.max()
        parts.append(_momentum(schedule, uncoupled, float(top)))
    return "\n\n".join(parts)


def _function(name: str, about: str, lines: Sequence[str], kind: str = "float") -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f'def {name}(t: int) -> {kind}:\n    """Return {about}."""\n{body}\n'


def _rate(schedule: Schedule, steps: int, name: str, where: str) -> str:
    """Return the function of the learning rate before its coupling to the batch."""
    warm, held, rest = schedule.phases(steps)
    start, peak, floor = warm + held, schedule.peak, schedule.floor
    lines = []
    if warm:
        lines += [f"if t < {warm}:  # warmup", f"    return {peak!r} * ((t + 1) / {warm})"]
    if held:
        lines += [f"if t < {start}:  # hold", f"    return {peak!r}"]
    constants: list[str] = []
    if rest:
        bounds = cycle_bounds(rest, schedule.cycles, schedule.cycle_growth)
        cycles = [
            (begin + start, end + start, schedule.cycle_damping**i)
            for i, (begin, end) in enumerate(itertools.pairwise(bounds))
        ]
        if len(cycles) == 1:
            lines.append(f"k, n = t{f' - {start}' if start else ''}, {rest}  # decay")
        else:
            constants += [
                "#: First step, end and height of every cycle.",
                f"CYCLES = {_rows(cycles)}",
            ]
            lines.append("begin, end, height = next(cycle for cycle in CYCLES if t < cycle[1])")
            lines.append("k, n = t - begin, end - begin")
        own, shape = _SHAPES[schedule.decay](schedule)
        constants += own
        lines += shape
        if len(cycles) > 1:
            lines.append("unit = height * unit")
        unit = f"({floor!r} + {1.0 - floor!r} * unit)" if floor else "unit"
        lines.append(f"return {peak!r} * {unit}")
    head = "\n".join(constants) + "\n\n\n" if constants else ""
    return head + _function(name, f"the learning rate of step t, {where}", lines)


def _rows(rows: Sequence[Sequence[float]]) -> str:
    """Return rows of numbers as a tuple of tuples, one per line."""
    inside = "".join(f"    ({', '.join(map(repr, row))}),\n" for row in rows)
    return f"(\n{inside})"


def _power(base: str, exponent: float) -> str:
    return base if exponent == 1.0 else f"({base}) ** {exponent!r}"


def _plain(expression: str) -> tuple[list[str], list[str]]:
    return [], [f"unit = {expression}"]


def _spline(s: Schedule) -> tuple[list[str], list[str]]:
    """Return the polynomials of the spline, evaluated in the order of SciPy."""
    from scipy.interpolate import PchipInterpolator  # importing it takes 0.3 s

    numbers = {name: getattr(s, name) for name in DECAYS["spline"][1]}
    spline = PchipInterpolator(*spline_knots(numbers))
    rows = np.column_stack([spline.x[:-1], spline.c[::-1].T]).tolist()
    constants = ["#: Begin and coefficients of the cubic polynomials.", f"PIECES = {_rows(rows)}"]
    return constants, [
        "begin, a, b, c, d = next(piece for piece in reversed(PIECES) if k / n >= piece[0])",
        "x = k / n - begin",
        "unit = min(max(a + b * x + c * (x * x) + d * (x * x * x), 0.0), 1.0)",
    ]


#: The lines that compute `unit`, the decay in step k of n, and the constants that they use.
_SHAPES: dict[str, Callable[[Schedule], tuple[list[str], list[str]]]] = {
    "constant": lambda s: _plain("1.0"),
    "polynomial": lambda s: _plain(_power("1.0 - k / n", s.power)),
    "cosine": lambda s: _plain(_power("0.5 * (1.0 + math.cos(math.pi * (k / n)))", s.power)),
    "step": lambda s: _plain(f"{s.gamma!r} ** (k * {s.drops + 1} // n)"),
    "exponential": lambda s: _plain(f"math.exp({-s.rate!r} * (k / n))"),
    "power_law": lambda s: _plain(f"(1.0 + {s.rate!r} * (k / n)) ** {-s.power!r}"),
    "root": lambda s: _plain(f"1.0 - {_power('k / n', s.power)}"),
    "rex": lambda s: _plain(f"(1.0 - k / n) / (1.0 - {1.0 - s.bend!r} * (k / n))"),
    "spline": _spline,
}


def _batch_size(schedule: Schedule, plan: Plan) -> str:
    steps, batch, growth = len(plan), int(plan.batch[0]), schedule.batch_growth
    factor = f"{growth!r} ** (t / {steps})"
    if schedule.batch_ramp == "linear":
        factor = f"(1.0 + {growth - 1.0!r} * (t / {steps}))"
    lines = [
        f"if t == {steps - 1}:  # what the budget leaves",
        f"    return {plan.batch[-1]}",
        f"return min(math.floor({batch} * {factor} + 0.5), {plan.samples})",
    ]
    return _function("batch_at", "the batch size of step t", lines, "int")


def _coupled_rate(schedule: Schedule, plan: Plan) -> str:
    ratio = f"(batch_at(t) / {float(plan.batch[0])!r})"
    line = f"return uncoupled_rate_at(t) * {_power(ratio, schedule.coupling)}"
    about = f"the learning rate of step t, for t = 0 … {len(plan) - 1}"
    return _function("rate_at", about, [line])


def _momentum(schedule: Schedule, uncoupled: str, top: float) -> str:
    """Return the function of a varying momentum.

    Args:
        schedule: the schedule.
        uncoupled: name of the function of the rate before its coupling to the batch.
        top: the largest of these rates.
    """
    high = schedule.momentum or 0.0
    if schedule.momentum_rule == "opposed":
        fall = high - schedule.momentum_low
        lines = [f"return {high!r} - {fall!r} * ({uncoupled}(t) / {top!r})"]
    else:
        nesterov = schedule.momentum_rule == "critical_nesterov"
        damped = "(1.0 - root) / (1.0 + root)" if nesterov else "(1.0 - root) * (1.0 - root)"
        lines = [
            f"root = math.sqrt(rate_at(t) * {schedule.curvature!r})",
            f"return 0.0 if root >= 1.0 else min({damped}, {high!r})",
        ]
    return _function("momentum_at", "the momentum (beta1) of step t", lines)
