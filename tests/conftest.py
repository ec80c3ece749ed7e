"""Tests are reproducible, leave each other room, and end.

Hypothesis derives its examples from the test, not the clock. Tests run in as many processes as
there are cores, so each of them, and whatever it starts, computes on one thread: two threads a
process on busy cores can be ten times slower than one.
"""

import math
import os
import signal
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings  # after the variable, which NumPy and torch read

settings.register_profile("lrsearch", derandomize=True, deadline=None)
settings.load_profile("lrsearch")

# A shell starts what it puts into the background with Ctrl-C ignored, which would be inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: When the timeout of a test is over, by the monotonic clock.
DEADLINE = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item, settings):
    """A timeout is raised again and again: a search takes what hangs for a trial that failed."""
    done = yield
    item.stash[DEADLINE] = time.monotonic() + settings.timeout
    if settings.method == "signal":
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, 5.0)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that goes on although its time is up has failed, whatever it says."""
    done = yield
    if time.monotonic() > item.stash.get(DEADLINE, math.inf):
        pytest.fail("it took longer than its timeout, and caught what that raised")
    return done
