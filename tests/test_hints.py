"""Hints on a search: ends of the space, grouped failures."""

import dataclasses

import pytest

from lrsearch import Choices, Range, Schedule
from lrsearch.hints import edge_hints, grouped_failures, progress_hints
from lrsearch.outcome import Outcome, Trial
from lrsearch.result import Result
from lrsearch.schedule import Budget


def make_result(schedule, entries, failed=()):
    trials = [
        Trial(
            index=0,
            schedule=schedule,
            outcomes=(Outcome(trial=0, replicate=0, state="finished", value=1.0),),
        )
    ]
    for index, reason in enumerate(failed, 1):
        ended = Outcome(trial=index, replicate=0, state="failed", reason=reason)
        trials.append(Trial(index=index, schedule=schedule, outcomes=(ended,)))
    words = {"study": "s", "objective": "o", "space": "x", "unit": "u", "seconds": 1.0}
    place = {"storage": "s.journal", "tracking_uri": None, "run_id": None}
    budget = Budget(steps=100, batch=1)
    return Result(**words, **place, budget=budget, trials=tuple(trials), entries=entries)


PEAK = Range(low=0.01, high=1.0, log=True)


@pytest.mark.parametrize(
    ("fields", "entries", "proposal"),
    [
        ({"peak": 0.99}, {"peak": PEAK}, "upper end of its range. *--set peak=0.01..10` "),
        ({"peak": 0.0101}, {"peak": PEAK}, "lower end of its range. *--set peak=0.001..1` "),
        ({"peak": 0.5}, {"peak": PEAK}, None),
        ({"peak": 2.0}, {"peak": PEAK}, None),  # it was tried first, and is not in the space
        ({"warmup": 0.3}, {"warmup": Range(low=0.0, high=0.3)}, "warmup=0..0.45` "),
        ({"warmup": 0.0}, {"warmup": Range(low=0.0, high=0.3)}, None),  # there is no less
        ({"floor": 0.9}, {"floor": Range(low=0.5, high=0.9)}, "floor=0.5..0.99` "),
        ({"bend": 0.1}, {"bend": Range(low=0.1, high=0.5)}, "bend=5e-07..0.5` "),
        ({"warmup": 0.1}, {"warmup": Choices(values=(0.1, 0.2)), "floor": 0.0}, None),
    ],
)
def test_the_best_schedule_at_an_end_of_the_space_is_a_hint_with_a_wider_range(
    fields, entries, proposal
):
    hints = list(edge_hints(make_result(Schedule(**{"peak": 0.1, **fields}), entries)))
    if proposal is None:
        assert hints == []
    else:
        (hint,) = hints
        for part in proposal.split("*"):
            assert part in hint


def test_the_proposed_range_is_allowed():
    schedule = Schedule(peak=0.1, floor=0.9, bend=0.1)
    entries = {"floor": Range(low=0.5, high=0.9), "bend": Range(low=0.1, high=0.5)}
    for hint in edge_hints(make_result(schedule, entries)):
        name, _, ends = hint.partition("--set ")[2].split("`")[0].partition("=")
        for end in ends.split(".."):
            dataclasses.replace(schedule, **{name: float(end)})


def test_equal_failures_are_one_line():
    failed = ["no file"] * 7 + ["out of memory"]
    lines = grouped_failures(make_result(Schedule(peak=0.1), {}, failed))
    assert lines == [
        "7 trials (1, 2, 3, 4, 5, …) failed: no file",
        "trial 8 failed: out of memory",
    ]


def progress(values):
    trials = tuple(
        Trial(
            index=i,
            schedule=Schedule(peak=0.1),
            outcomes=(Outcome(trial=i, replicate=0, state="finished", value=value),),
        )
        for i, value in enumerate(values)
    )
    return list(
        progress_hints(dataclasses.replace(make_result(Schedule(peak=0.1), {}), trials=trials))
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([3.0, 1.0] + 16 * [2.0], "last 6 of 18 trials found nothing better"),
        ([3.0] + 11 * [2.0] + 6 * [1.0], "last 6 of 18 trials still brought 50 % of the search"),
        ([3.0] + 11 * [1.1] + 6 * [1.0], None),  # 5 % of the gain
        ([3.0] + 13 * [2.0], None),  # too few trials
    ],
)
def test_the_progress_of_the_last_third_is_a_hint(values, words):
    found = progress(values)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]
    assert "--trials 36" in found[0] if words and "still" in words else True
