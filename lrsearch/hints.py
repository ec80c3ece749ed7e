"""Hints on a search: its progress, a schedule at an end of the space, why trials failed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lrsearch.ranges import Range
from lrsearch.result import Result
from lrsearch.schedule import FIELDS

#: Distance from an end of a range, as a fraction of it, within which a value is at this end. A
#: convention.
EDGE = 0.02
#: Number of finished trials from which the progress of a search is judged, and the share of its
#: gain in the last third above which it has not ended. Conventions.
FEWEST, MUCH = 15, 0.2


def edge_hints(result: Result) -> Iterator[str]:
    """Yield a sentence for each field in which the best trial is at an end of its range.

    An end beyond which the field has no values, such as a warmup of 0, is left out.
    """
    schedule = result.best.schedule
    for name, entry in result.entries.items():
        if not isinstance(entry, Range) or entry.low == entry.high:
            continue
        value = float(getattr(schedule, name))
        if not entry.low <= value <= entry.high:
            continue  # a schedule that was enqueued
        at = _place(entry, value)
        low, high = entry.low, entry.high
        if at <= EDGE:
            low = low / 10 if entry.log else low - (high - low) / 2
        elif at >= 1 - EDGE:
            high = high * 10 if entry.log else high + (high - low) / 2
        else:
            continue
        low, high = _within(name, low, high)
        if FIELDS[name].kind == "int":
            low, high = math.floor(low), math.ceil(high)
        if (low, high) == (entry.low, entry.high):
            continue
        side = "lower" if at <= EDGE else "upper"
        yield (
            f"The {name} of the best trial, {value:.4g}, is at the {side} end of its range. To "
            f"search further, use `lrsearch tune --set {name}={low:.4g}..{high:.4g}` and another "
            "name of the study."
        )


def _place(entry: Range, value: float) -> float:
    """Return where a value is in its range, from 0 to 1."""
    if entry.log:
        return math.log(value / entry.low) / math.log(entry.high / entry.low)
    return (value - entry.low) / (entry.high - entry.low)


def _within(name: str, low: float, high: float) -> tuple[float, float]:
    """Return the part of a range that a field allows; an end that it excludes stays outside."""
    bound = FIELDS[name]
    if low <= bound.low and bound.open_low:
        low = bound.low * 1.01 if bound.low > 0 else high / 1e6
    if high >= bound.high and bound.open_high:
        high = bound.high * 0.99
    return max(low, bound.low), min(high, bound.high)


def progress_hints(result: Result) -> Iterator[str]:
    """Yield a sentence if the last third of the search brought nothing, or still brought much.

    Trials of noisy objectives become better by luck too, so what counts is the improvement in
    percent of what the search gained over the default schedule. The limits are conventions.
    """
    finished = [trial for trial in result.trials if trial.value is not None]
    if len(finished) < FEWEST:
        return
    cut = len(finished) - len(finished) // 3
    values = [trial.value for trial in finished if trial.value is not None]
    before, after, first = min(values[:cut]), min(values), values[0]
    last = len(values) - cut
    if after >= before:
        yield (
            f"The last {last} of {len(values)} trials found nothing better: more trials of this "
            "space are unlikely to help."
        )
    elif before - after > MUCH * (first - after):
        yield (
            f"The last {last} of {len(values)} trials still brought "
            f"{100 * (before - after) / (first - after):.0f} % of the search's gain: more trials "
            f"may help (`lrsearch tune --trials {2 * result.counted}` with the same settings)."
        )


def grouped_failures(result: Result) -> list[str]:
    """Return one line per reason for which trials failed, the most frequent first."""
    groups: dict[str, list[int]] = {}
    for trial in result.trials:
        if trial.state == "failed":
            groups.setdefault(trial.reason, []).append(trial.index)
    lines = []
    for reason, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(map(str, found[:5])) + ", …" * (len(found) > 5)
        who = f"trial {shown}" if len(found) == 1 else f"{len(found)} trials ({shown})"
        lines.append(f"{who} failed: {reason}")
    return lines
