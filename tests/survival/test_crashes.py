"""A search that dies before any system call, or within any write, is continued as if it had not.

The whole enumeration is `pytest -m exhaustive tests/survival/test_crashes.py`; its figures are
recorded by `python -m tests.bench.crashes`.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the system calls are traced on Linux on x86-64",
)


def enumerate_crashes(every):
    """Run `tests.survival.crashes` in a process without threads; return its figures."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.survival.crashes", json.dumps({"every": every})],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "every",
    [
        pytest.param(97, id="sample", marks=pytest.mark.slow),
        pytest.param(1, id="whole", marks=[pytest.mark.exhaustive, pytest.mark.timeout(3600)]),
    ],
)
def test_a_search_that_dies_at_any_system_call_is_continued_bit_for_bit(every):
    figures = enumerate_crashes(every)
    assert figures["calls"] > 500
    assert figures["writes"] > 10
    assert figures["reached"] > 0.9 * figures["crash points"]
