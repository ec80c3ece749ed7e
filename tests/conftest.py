"""Property tests are reproducible: hypothesis derives examples from the test, not the clock."""

from hypothesis import settings

settings.register_profile("lrsearch", derandomize=True, deadline=None)
settings.load_profile("lrsearch")
