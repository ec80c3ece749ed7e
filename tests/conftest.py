"""Tests are reproducible, and leave each other room.

Hypothesis derives its examples from the test, not the clock. Tests run in as many processes as
there are cores, so each of them, and whatever it starts, computes on one thread: two threads a
process on busy cores can be ten times slower than one.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings  # after the variable, which NumPy and torch read

settings.register_profile("lrsearch", derandomize=True, deadline=None)
settings.load_profile("lrsearch")

# A shell starts what it puts into the background with Ctrl-C ignored, which would be inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
