"""Independent random streams keyed by what they are for.

A stream is named by (study seed, trial, replicate, purpose) and never by the order in which it was
made, so reordering, resuming or distributing a search changes no run. The keys go through NumPy's
SeedSequence, whose spawn keys are designed for independent streams (O'Neill's hash).
"""

from __future__ import annotations

import zlib

import numpy as np

#: What streams are for. The word is the stream: renaming code never touches its text, or every
#: study would go on with other numbers.
RUN, SELECT, REPORT = "run", "select", "report"
SAMPLER, POINT, SOBOL, DRAW = "sampler", "point", "sobol", "draw"
ORDER, LANDSCAPE, LOOK = "order", "landscape", "look"


def _sequence(seed: int, purpose: str, keys: tuple[int, ...]) -> np.random.SeedSequence:
    # crc32 is stable between processes and Python versions; `hash` of a string is neither.
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *keys))


def stream(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """A generator of its own for a purpose.

    Args:
        seed: the study's seed, at least 0.
        purpose: a word such as `noise`.
        keys: what tells streams of one purpose apart, such as trial and replicate, each at least
            0.
    """
    return np.random.default_rng(_sequence(seed, purpose, keys))


def stream_seed(seed: int, purpose: str, *keys: int) -> int:
    """A seed below 2^31 for libraries that take an integer; arguments as for `stream`."""
    return int(_sequence(seed, purpose, keys).generate_state(1)[0] >> 1)


def run_seed(seed: int, replicate: int) -> int:
    """The seed of a run: initialisation, data order, everything a training run draws.

    It depends on the replicate and not on the trial: two schedules with one replicate see the same
    initialisation and the same data, so their difference is paired (common random numbers).
    """
    return stream_seed(seed, RUN, replicate)
