"""Streams are keyed by purpose and never by order."""

import itertools

import numpy as np

from lrsearch.seeding import run_seed, stream, stream_seed


def test_a_stream_is_the_same_whenever_it_is_asked_for():
    first = stream(3, "noise", 1, 2).normal(size=4)
    stream(3, "noise", 9).normal(size=100)
    np.testing.assert_array_equal(first, stream(3, "noise", 1, 2).normal(size=4))


def test_every_part_of_the_key_makes_another_stream():
    keys = itertools.product((0, 1), ("noise", "sampler"), (0, 1), (0, 1))
    seeds = [stream_seed(seed, purpose, a, b) for seed, purpose, a, b in keys]
    assert len(set(seeds)) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_known_seeds_have_not_moved():
    """A change of these numbers changes every recorded study."""
    assert [run_seed(0, r) for r in range(3)] == SEEDS


def test_replicates_and_studies_have_seeds_of_their_own():
    assert len({run_seed(s, r) for s in range(3) for r in range(100)}) == 300


SEEDS = [2134403700, 2034276719, 565168609]
