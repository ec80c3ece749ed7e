"""The names under which a study is stored. Their text is fixed: renaming code never touches it.

Studies that an earlier version has written must open, so a name here is never changed and never
used for something else.
"""

from __future__ import annotations

#: Attributes of a study in Optuna's storage.
SPEC = "lrsearch"
OPTIMUM = "lrsearch.optimum"
TRACKING = "lrsearch.tracking"
SLOTS = "lrsearch.slots"
QUEUE = "lrsearch.enqueued"
MEASURED = "lrsearch.measured"
COMPARISON = "lrsearch.confirmed"
FACTS = "lrsearch.facts"
TOLD = "lrsearch.told"
#: One attribute a worker, empty again when it has left, and the id of the leader.
WORKER = "lrsearch.worker."
LEADER = "lrsearch.leader"

#: Attributes of Optuna's trials: how one ended, which attempt at it this is, and that it was lost.
ENDED = "lrsearch"
RUNNING = "lrsearch.attempt"
LOST = "lrsearch.lost"
