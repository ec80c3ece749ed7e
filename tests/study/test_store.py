"""Journals: torn lines, locks, names, and files of other programs."""

import os
import subprocess
import sys

import pytest

from lrsearch import api
from lrsearch.bounds import Bound
from lrsearch.errors import RequestError
from lrsearch.study.location import Location
from tests.doubles import Bowl, asked, search


@pytest.mark.parametrize("torn", [b'{"op_co', b'{"op_code": 4, "wor\n', b"\x00\x00\x00"])
def test_a_torn_last_line_loses_only_itself(tmp_path, torn):
    whole = search(Bowl(), tmp_path / "a", trials=12)
    search(Bowl(), tmp_path / "b", trials=6)
    journal = tmp_path / "b" / "x.journal"
    journal.write_bytes(journal.read_bytes() + torn)
    again = search(Bowl(), tmp_path / "b", trials=12)
    assert asked(again) == asked(whole)


def test_a_trial_whose_record_was_cut_in_half_is_run_again(tmp_path):
    whole = search(Bowl(), tmp_path, trials=12)
    journal = tmp_path / "x.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if line.startswith(b'{"op_code":8'))
    journal.write_bytes(b"".join(lines[:last]) + lines[last][:-100])
    bowl = Bowl()
    assert asked(search(bowl, tmp_path, trials=12)) == asked(whole)
    assert bowl.yielded == 1


@pytest.mark.parametrize("text", ["a diary\nnothing happened", "one line", "[1, 2]\n{}\n"])
def test_a_file_that_is_not_a_journal_is_refused_and_unchanged(tmp_path, text):
    path = tmp_path / "x.journal"
    path.write_text(text)
    with pytest.raises(RequestError, match=r"is not an lrsearch journal"):
        search(Bowl(), tmp_path, trials=2)
    assert path.read_text() == text


def test_a_killed_lock_holder_does_not_block_other_processes(tmp_path):
    search(Bowl(), tmp_path, trials=2)
    holder = (
        "import fcntl, os, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX);"
        "g = open(sys.argv[2], 'a'); fcntl.flock(g, fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    )
    paths = [str(tmp_path / "x.journal"), str(tmp_path / "x.lock")]
    command = [sys.executable, "-c", holder, *paths]
    assert subprocess.run(command, timeout=60, check=False).returncode == -9
    assert len(search(Bowl(), tmp_path, trials=4).trials) == 4


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a b", ".hidden", "-x", "x" * 101, "ü", "a\nb", "a\x00"]
)
def test_unsafe_names_are_refused(name):
    with pytest.raises(RequestError, match="is not a valid name"):
        Location.of(name)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "redis://me:secret@host", "://secret@x"])
def test_other_databases_are_refused_without_showing_the_password(url):
    with pytest.raises(RequestError, match="neither a PostgreSQL nor a MySQL") as caught:
        Location.of("x", url)
    assert "secret" not in str(caught.value)


def test_a_study_can_be_read_and_an_unknown_one_is_refused(tmp_path, monkeypatch):
    made = search(Bowl(), tmp_path, trials=3)
    storage = str(tmp_path / "x.journal")
    assert asked(api.load("s", storage=storage)) == asked(made)
    with pytest.raises(RequestError, match="there is no study 't' in "):
        api.load("t", storage=storage)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lrsearch-studies").mkdir()
    (tmp_path / "lrsearch-studies" / "mine-default.journal").touch()
    with pytest.raises(RequestError, match="did you mean 'mine-default'"):
        api.load("mine-defualt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RequestError, match="cannot write"):
        search(Bowl(), tmp_path / "a", trials=1)


def test_a_folder_in_place_of_a_journal_is_refused(tmp_path):
    (tmp_path / "x.journal").mkdir()
    with pytest.raises(RequestError, match="is not a regular file"):
        search(Bowl(), tmp_path, trials=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("1d", 86400.0)],
)
def test_durations_are_converted_to_seconds(text, seconds):
    assert Bound(kind="duration").check("timeout", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1w", "m", "1 2", "inf", "1e3"])
def test_invalid_durations_are_refused(text):
    with pytest.raises(RequestError, match="is not a duration"):
        Bound(kind="duration").check("timeout", text)
