"""Random input from strangers at its whole length: `python -m tests.bench.hostile`.

The same inputs are read by `pytest -m exhaustive -k strange`. This script also records how
lrsearch answered: exit codes of its commands for journals and databases (0 read, 2 refused, 3 no
trial has finished), and counts for spools and messages of workers. It ends with an error at the
first raw exception, file outside the study, connection or process.
"""

import collections
import os
import tempfile
import time
from pathlib import Path

from tests.bench.machine import record
from tests.machines.postgres import PASSWORD, Postgres
from tests.survival import hostile
from tests.survival.test_hostile import WHOLE


def measure():
    os.environ["PGPASSWORD"] = PASSWORD
    server, found, began = Postgres(), collections.defaultdict(dict), time.perf_counter()
    try:
        for seed, (name, inputs) in enumerate(WHOLE.items(), 1):
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                where = [Path(folder), *([server.fresh("hostile")] if name == "rows" else [])]
                answers = getattr(hostile, name)(*where, inputs, seed=seed)
                os.chdir("/")
            found[name] = {"inputs": inputs, "answers": {str(k): n for k, n in answers.items()}}
            print(name, found[name], flush=True)
    finally:
        server.close()
    return {**found, "seconds": round(time.perf_counter() - began)}


if __name__ == "__main__":
    record("hostile", measure())
