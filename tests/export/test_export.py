"""Tests of CSV and JSON: reading an export gives the same plan or schedule."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given

from lrsearch import Schedule
from lrsearch.errors import RequestError
from lrsearch.export import to_csv, to_json
from tests.families import STEPS, schedules


@given(schedules())
def test_csv_contains_the_plan_bit_for_bit(fields):
    schedule = Schedule(**fields)
    plan = schedule.with_momentum(0.9).plan(STEPS, 4)
    rows = list(csv.DictReader(io.StringIO(to_csv(plan))))
    assert list(rows[0]) == ["update", "lr", "batch", "momentum"]
    assert [int(row["update"]) for row in rows] == list(range(len(plan)))
    assert np.array_equal([float(row["lr"]) for row in rows], plan.lr)
    assert np.array_equal([int(row["batch"]) for row in rows], plan.batch)
    assert np.array_equal([float(row["momentum"]) for row in rows], plan.momentum)


@given(schedules())
def test_json_is_read_as_the_same_schedule(fields):
    schedule = Schedule(**fields)
    assert Schedule.from_json(to_json(schedule)) == schedule


def test_a_budget_that_is_too_short_is_rejected():
    with pytest.raises(RequestError, match="leave no decay phase"):
        to_csv(Schedule(peak=0.1, warmup=0.9).plan(1))
