"""What others wrote: every input is read or refused in one line, and nothing else happens.

The whole length is `pytest -m exhaustive tests/survival/test_hostile.py`; its counts are recorded
by `python -m tests.bench.hostile`.
"""

import pickle
import socket

import pytest

from tests.survival import hostile
from tests.survival.guard import Guard

SAMPLE = 300
#: Numbers of inputs, by function of `tests.survival.hostile`; a seed each, from 1 on.
WHOLE = {"journals": 40_000, "spools": 25_000, "pipes": 25_000, "rows": 10_000}


def sizes(name, *marks):
    """Return the parameters of a test: a sample for CI and the whole length."""
    long = [pytest.mark.exhaustive, pytest.mark.timeout(7200)]
    return pytest.mark.parametrize(
        "inputs",
        [
            pytest.param(SAMPLE, id="sample", marks=marks),
            pytest.param(WHOLE[name], id="whole", marks=long),
        ],
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@sizes("journals")
def test_a_strange_journal_is_read_or_refused_and_touches_nothing(here, inputs):
    answers = hostile.journals(here, inputs, seed=1)
    assert answers[0] > 0.1 * inputs
    assert answers[2] > 0.1 * inputs


@sizes("spools")
def test_a_strange_spool_gives_nothing_but_numbers_of_its_own_trials(here, inputs):
    answers = hostile.spools(here, inputs, seed=2)
    assert answers["read"] > 0.1 * inputs
    assert answers["refused"] > 0.1 * inputs


@sizes("pipes")
def test_strange_messages_of_workers_cost_their_runs_and_nothing_else(here, inputs):
    answers = hostile.pipes(here, inputs, seed=3)
    assert answers["searches that ended"] > 0
    assert answers["searches that failed"] > 0


def test_a_guard_hears_files_connections_and_pickles(here, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "file"
    with Guard(here) as guard:
        (here / "mine").write_text("x")
        assert guard.found == []
        other.write_text("x")
        other.read_text()
        other.unlink()
        with socket.socket() as mine:
            mine.connect_ex(("127.0.0.1", 9))
        pickle.loads(pickle.dumps(Guard))
    assert [found.split()[0].partition("(")[0] for found in guard.found] == [
        *("open", "open", "os.remove", "socket.connect", "pickle.find_class")
    ]
