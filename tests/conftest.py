"""Settings that make tests reproducible, limit their threads, and end tests that hang.

Hypothesis derives its examples from the test, not from the clock. There is one test process per
core, so each test and each process that it starts computes on one thread. Two threads per process
on busy cores can be ten times slower than one.
"""

import math
import os
import signal
from time import monotonic  # kept here, because tests replace time.monotonic

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings  # after OMP_NUM_THREADS is set, which NumPy and torch read

settings.register_profile("lrsearch", derandomize=True, deadline=None)
settings.load_profile("lrsearch")

# A shell starts background jobs with SIGINT ignored, and processes of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Time at which the timeout of a test ends (monotonic clock).
DEADLINE = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item, settings):
    """Raise the timeout every 5 s, because a search treats the first one as a failed trial."""
    done = yield
    item.stash[DEADLINE] = monotonic() + settings.timeout
    if settings.method == "signal":
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, 5.0)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a test that ends after its timeout, even if it passes."""
    done = yield
    if monotonic() > item.stash.get(DEADLINE, math.inf):
        pytest.fail(
            "the test took longer than its timeout and caught the exception of the timeout"
        )
    return done
