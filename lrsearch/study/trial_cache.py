"""A cache of the trials of a study in a database, which queries only what has changed.

Optuna's own cache reads every running trial again each time, with all its data: half a second for
a thousand running trials. The cache here queries the states of new and running trials. It reads
the user attributes only of trials that are new or have ended, and nothing else of a trial.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, column, or_, select, table

#: Optuna's tables, with the columns that are read here. Optuna has checked the tables' version.
TRIALS = table(
    "trials",
    *map(
        column, ("trial_id", "study_id", "number", "state", "datetime_start", "datetime_complete")
    ),
)
NOTES = table("trial_user_attributes", *map(column, ("trial_id", "key", "value_json")))

#: Largest number of trials in one query: PostgreSQL allows 65 535 parameters.
MOST_IDS = 10_000


class TrialCache:
    """The trials of one study as they were last read.

    Args:
        study: id of the study in Optuna's tables.
    """

    def __init__(self, study: int) -> None:
        self._study = study
        self._known: dict[int, FrozenTrial] = {}  # by id, ascending; so are the numbers
        self._running: set[int] = set()

    def look(self, connection: Connection) -> list[FrozenTrial]:
        """Return all trials ordered by number, without parameters and values.

        User attributes that a running trial has set since it was first read are missing.
        """
        new = TRIALS.c.trial_id > next(reversed(self._known), -1)
        asked = select(TRIALS).where(
            TRIALS.c.study_id == self._study, or_(new, TRIALS.c.trial_id.in_(self._running))
        )
        rows = list(connection.execute(asked).mappings())
        changed = [r for r in rows if r["trial_id"] not in self._known or r["state"] != "RUNNING"]
        if changed:
            notes = _notes(connection, [row["trial_id"] for row in changed])
            for row in sorted(changed, key=lambda row: int(row["trial_id"])):
                key = int(row["trial_id"])
                trial = self._known[key] = _trial(row, notes[key])
                if trial.state.is_finished():
                    self._running.discard(key)
                else:
                    self._running.add(key)
        return list(self._known.values())


def _notes(connection: Connection, trials: Sequence[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for first in range(0, len(trials), MOST_IDS):
        asked = select(NOTES).where(NOTES.c.trial_id.in_(trials[first : first + MOST_IDS]))
        for row in connection.execute(asked).mappings():
            found[int(row["trial_id"])][str(row["key"])] = json.loads(row["value_json"])
    return found


def _trial(row: Any, notes: dict[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        number=row["number"],
        state=TrialState[row["state"]],
        value=None,
        datetime_start=row["datetime_start"],
        datetime_complete=row["datetime_complete"],
        params={},
        distributions={},
        user_attrs=notes,
        system_attrs={},
        intermediate_values={},
        trial_id=row["trial_id"],
    )
