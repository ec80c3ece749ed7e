"""A database in which a stranger has changed rows: each is read or refused in one line."""

import pytest

from tests.survival import hostile
from tests.survival.test_hostile import sizes


@sizes("rows", pytest.mark.slow)
def test_strange_rows_of_a_database_are_read_or_refused_and_touch_nothing(
    database, tmp_path, inputs
):
    answers = hostile.rows(tmp_path, database, inputs, seed=4)
    assert answers[0] > 0.1 * inputs
    assert answers[2] > 0.1 * inputs
