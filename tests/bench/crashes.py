"""Every crash point of a short study: `python -m tests.bench.crashes`.

A search dies before each of its system calls and in the middle of each of its writes. The next
search must continue it with the same results; the script ends with an error at the first that does
not. The same enumeration is `pytest -m exhaustive tests/survival/test_crashes.py`.
"""

import time

from tests.bench.machine import record
from tests.survival.test_crashes import enumerate_crashes

if __name__ == "__main__":
    began = time.perf_counter()
    figures = enumerate_crashes(1)
    record("crashes", {**figures, "seconds": round(time.perf_counter() - began)})
