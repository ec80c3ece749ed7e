"""Independent random streams, each named by its purpose.

A stream is named by (study seed, purpose, keys such as trial and replicate), never by the order in
which it was created, so reordering, resuming or distributing a search changes no run. The names go
through NumPy's SeedSequence, whose spawn keys are designed for independent streams (O'Neill's
hash).
"""

from __future__ import annotations

import zlib

import numpy as np

#: Purposes of streams. Do not change these strings: existing studies would continue with different
#: random numbers.
RUN, SELECT, REPORT = "run", "select", "report"
SAMPLER, POINT, SOBOL, DRAW = "sampler", "point", "sobol", "draw"
ORDER, LANDSCAPE, LOOK = "order", "landscape", "look"


def _sequence(seed: int, purpose: str, keys: tuple[int, ...]) -> np.random.SeedSequence:
    # crc32 is stable between processes and Python versions; `hash` of a string is neither.
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *keys))


def stream(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """Return a random generator for a purpose, independent of those of other purposes and keys.

    Args:
        seed: seed of the study, at least 0.
        purpose: a word such as `noise`.
        keys: numbers that distinguish streams of the same purpose, such as trial and replicate,
            each at least 0.
    """
    return np.random.default_rng(_sequence(seed, purpose, keys))


def stream_seed(seed: int, purpose: str, *keys: int) -> int:
    """Return an integer seed below 2^31, for libraries that need one.

    Args:
        seed: seed of the study, at least 0.
        purpose: a word such as `noise`.
        keys: numbers that distinguish seeds of the same purpose, each at least 0.
    """
    return int(_sequence(seed, purpose, keys).generate_state(1)[0] >> 1)


def run_seed(seed: int, replicate: int) -> int:
    """Return the seed of all random numbers of a run, such as initialisation and data order.

    The seed depends on the replicate but not on the trial: two schedules with the same replicate
    see the same initialisation and the same data, so their difference is paired (common random
    numbers).

    Args:
        seed: seed of the study, at least 0.
        replicate: index of the run within its trial.
    """
    return stream_seed(seed, RUN, replicate)
