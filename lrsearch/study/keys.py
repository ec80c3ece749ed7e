"""The keys under which a study is stored. Renaming code never changes their text.

Studies of earlier versions must stay readable. A key is therefore never changed and never reused
for something else.
"""

from __future__ import annotations

#: User attributes of a study in Optuna's storage.
SPEC = "lrsearch"
OPTIMUM = "lrsearch.optimum"
TRACKING = "lrsearch.tracking"
SLOTS = "lrsearch.slots"
QUEUE = "lrsearch.enqueued"
CURRENT = "lrsearch.current"
MEASURED = "lrsearch.measured"
COMPARISON = "lrsearch.confirmed"
#: What the comparison in progress was asked for, and the number of comparison runs before it.
BEGUN = "lrsearch.comparison_begun"
FACTS = "lrsearch.facts"
TOLD = "lrsearch.told"
#: One attribute per worker, empty once the worker has left; and the id of the leader.
WORKER = "lrsearch.worker."
LEADER = "lrsearch.leader"

#: User attributes of Optuna's trials: the record of the ended trial, the record of the running
#: attempt, and a mark that the attempt was lost with its process.
ENDED = "lrsearch"
RUNNING = "lrsearch.attempt"
LOST = "lrsearch.lost"
