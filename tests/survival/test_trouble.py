"""Trials with errors, full disks, deleted files: the right outcome or one clear error line."""

import errno
import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import time

import pytest

from lrsearch import api
from lrsearch.cli import main
from lrsearch.errors import RequestError, RunStopped, SearchFailed
from lrsearch.study.journal import open_journal
from tests.doubles import Bowl, asked, search, wait_until
from tests.survival.swarm import STUDY

WORDS = ["--tracking-uri", "none", "--no-compare", "--sampler", "random", "--quiet"]
ODD = ["tune", f"{STUDY}:odd", *WORDS]

OUTCOMES = {
    "nan": ("diverged", "the value at the end is nan"),
    "inf": ("diverged", "the value at the end is inf"),
    "nan loss": ("diverged", "diverged at update 1 with loss nan"),
    "inf loss": ("diverged", "diverged at update 1 with loss -inf"),
    "nothing": ("failed", "odd returned None, which is not a number; return the value"),
    "text": ("failed", "odd returned '0.5', which is not a number; return the value"),
    "raises": ("failed", r"ValueError: x{250,300}"),
    "exits": ("failed", r"the objective called sys.exit\(0\)"),
    "memory": ("failed", "MemoryError"),
    "cancelled": ("failed", "CancelledError"),
    "generator exit": ("failed", "GeneratorExit"),
    "changes the folder": ("finished", ""),
    "shouts": ("finished", ""),
    "leaves a child": ("finished", ""),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("odd", OUTCOMES)
def test_a_trial_that_misbehaves_has_the_right_outcome(here, monkeypatch, capsys, odd):
    monkeypatch.setenv("ODD", odd)
    state, reason = OUTCOMES[odd]
    words = ["--trials", "3", "--max-failures", "2"]
    assert main([*ODD, *words]) == (1 if state == "failed" else 0)
    monkeypatch.chdir(here)
    for trial in api.load("odd-default").trials[1:]:
        assert trial.state == state
        assert re.fullmatch(reason, trial.reason)
        assert len(trial.details) <= 10_000
    assert (here / "lrsearch-studies" / "odd-default.journal").stat().st_size < 100_000
    left = multiprocessing.active_children()
    for child in left:
        child.kill()
        child.join(10)
    assert len(left) == (2 if odd == "leaves a child" else 0)


@pytest.mark.parametrize(
    ("odd", "words", "reason"),
    [
        ("hangs", ["--trial-timeout", "0.2s"], "it took longer than 0.2 s and was ended"),
        (
            "killed",
            ["--workers", "2", "--max-retries", "1"],
            "its process died 2 times, the last with exit code -9",
        ),
        ("leaves a child", ["--trial-timeout", "9s"], ""),
        (
            "escapes",
            ["--workers", "2", "--max-retries", "0"],
            "its process died once, with exit code 7",
        ),
    ],
)
def test_a_trial_that_hangs_or_kills_its_process_has_the_right_outcome(
    here, monkeypatch, odd, words, reason
):
    monkeypatch.setenv("ODD", odd)
    words = [*words, "--trials", "2", "--max-failures", "1"]
    assert main([*ODD, *words]) == (1 if reason else 0)
    found = api.load("odd-default").trials[1]
    assert (found.state, found.reason) == ("failed" if reason else "finished", reason)
    if odd == "escapes":
        return  # lrsearch does not end a process that has its own session
    wait_until(lambda: not _processes_here(here))


def _processes_here(folder):
    """Return the processes that were started in a folder, without this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) != os.getpid() and os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_a_run_that_reports_its_losses_ends_at_the_update_at_which_its_time_is_up(tmp_path):
    class Slow(Bowl):
        def outcome(self, run):
            try:
                for t in range(len(run.plan)):
                    time.sleep(0.02)
                    run.report(t, 1.0)
            except RunStopped as stop:
                return run.end(stop.state, reason=str(stop))
            return run.end("finished", 1.0)

    with pytest.raises(SearchFailed, match="1 trial failed"):
        search(Slow(), tmp_path, trials=1, trial_timeout="0.1s", max_failures=1)
    trial = api.load("s", storage=tmp_path / "x.journal").trials[0]
    assert trial.state == "failed"
    assert re.fullmatch(r"it took longer than 0.1 s, up to update [345]", trial.reason)


def test_max_failures_ends_a_search_with_the_last_traceback(here, monkeypatch, capsys):
    monkeypatch.setenv("ODD", "text")
    assert main([*ODD, "--trials", "50", "--max-failures", "5"]) == 1
    assert len(api.load("odd-default").trials) == 6
    assert "5 trials in a row failed, the last with: odd returned" in capsys.readouterr().err
    monkeypatch.setenv("ODD", "memory")
    assert main([*ODD, "--trials", "50", "--max-failures", "1"]) == 1
    err = capsys.readouterr().err
    assert "in throw\n    raise error\nMemoryError\nlrsearch: 1 trial failed" in err


CODES = {
    0: ("shouts", "3", ""),
    1: ("text", "9", "3 trials in a row failed"),
    2: ("shouts", "0", "trials is 0; give an integer"),
    3: ("nan", "3", "no trial of study nap-default finished"),
    130: ("SIGINT", "9", "interrupted with 1 of 9 trials ended; all results are saved"),
    143: ("SIGTERM", "9", "continue with the same command: lrsearch tune "),
}


@pytest.mark.parametrize("code", CODES)
def test_each_exit_code_has_its_cause(here, monkeypatch, capsys, code):
    odd, trials, message = CODES[code]
    monkeypatch.setenv("ODD", odd)
    name, words = ("nap", ["--set", "peak=1"]) if code == 3 else ("odd", [])
    assert main(["tune", f"{STUDY}:{name}", *WORDS, "--trials", trials, *words]) == code
    err = capsys.readouterr().err.replace("x" * 1000, "")
    assert message in err
    assert code == 0 or "Traceback" not in err


@pytest.mark.parametrize(
    ("odd", "code"),
    [("SIGINT twice", 130), pytest.param("SIGTERM twice", -15, marks=pytest.mark.slow)],
)
def test_a_second_signal_stops_at_once_and_damages_nothing(here, monkeypatch, odd, code):
    command = [sys.executable, "-m", "lrsearch", *ODD, "--trials", "9"]
    began = time.monotonic()
    words = {"env": {**os.environ, "ODD": odd}, "capture_output": True, "text": True}
    done = subprocess.run(command, **words, timeout=120, check=False)
    assert (done.returncode, time.monotonic() - began < 40) == (code, True)
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("ODD", "shouts")
    assert main([*ODD, "--trials", "9"]) == 0
    assert [t.index for t in api.load("odd-default").trials] == list(range(9))


def test_a_signal_that_training_code_catches_still_ends_the_search(here, monkeypatch, capsys):
    monkeypatch.setenv("ODD", "swallows")
    assert main([*ODD, "--trials", "9"]) == 130
    assert "interrupted with 1 of 9 trials ended" in capsys.readouterr().err
    assert len(api.load("odd-default").trials) == 1  # without the interrupted one


TASK = """
import os
import torch
import lrsearch

calls = 0

def loss(model, batch):
    global calls
    calls += 1
    first, last = map(int, os.environ.get("FAILS", "0-0").split("-"))
    if first <= calls < last:
        raise KeyError("a broken task")
    return (model(batch[0]) - batch[1]).square().mean(-1)

def careful(model, batch):
    if model.weight.abs().max() > 50:  # a population cannot branch on values
        raise ArithmeticError("too fast")
    return loss(model, batch)

def model(generator):
    made = torch.nn.Linear(3, 1)
    with torch.no_grad():
        made.weight.normal_(generator=generator)
        made.bias.zero_()
    return made

x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
y = x.sum(1, keepdim=True)
words = {
    "model": model, "train": (x, y), "validation": (x, y),
    "steps": 30, "batch": 8,
}
line = lrsearch.TorchTask(name="line", loss=loss, peak=(1e-3, 0.03), **words)
single = lrsearch.TorchTask(name="single", loss=careful, peak=(1e-2, 10.0), **words)
"""


@pytest.fixture
def task(here, monkeypatch):
    (here / "task.py").write_text(TASK)
    monkeypatch.setattr(sys, "path", [str(here), *sys.path])
    monkeypatch.delitem(sys.modules, "task", raising=False)
    yield
    sys.modules.pop("task", None)


def test_a_task_that_raises_is_a_failed_trial_with_its_traceback(task, capsys):
    words = ["tune", "task.py:single", *WORDS, "--trials", "8", "--max-failures", "9"]
    assert main([*words, "--pruner", "none"]) == 0
    found = api.load("single-default")
    failed = [t for t in found.trials if t.state == "failed"]
    assert 0 < len(failed) < 8
    assert {t.reason for t in failed} == {"ArithmeticError: too fast"}
    assert all("in careful" in t.details for t in failed)


def test_a_population_continues_with_all_its_runs_after_one_step_raises(task, monkeypatch):
    words = ["tune", "task.py:line", *WORDS, "--trials", "8", "--slots", "4"]
    assert main([*words, "--study", "whole"]) == 0
    calls = sys.modules["task"].calls
    monkeypatch.setenv("FAILS", f"{calls + 100}-{calls + 101}")
    assert main([*words, "--study", "again"]) == 0
    assert sys.modules["task"].calls > calls + 101
    again, whole = api.load("again").trials, api.load("whole").trials
    assert [(t.schedule, t.state) for t in again] == [(t.schedule, t.state) for t in whole]
    # In float32, with fewer runs in flight, sums have another order.
    assert [t.value or 0.0 for t in again] == pytest.approx(
        [t.value or 0.0 for t in whole], rel=1e-4
    )


def test_a_population_that_always_raises_ends_with_the_traceback(task, monkeypatch, capsys):
    words = ["tune", "task.py:line", *WORDS, "--trials", "8", "--slots", "4"]
    monkeypatch.setenv("FAILS", "100-1000000")
    assert main(words) == 1
    err = capsys.readouterr().err
    assert "3 trials in a row failed, the last with: KeyError: 'a broken task'" in err
    assert "in loss" in err


def test_a_task_that_raises_when_it_is_tried_is_one_error_line(task, monkeypatch, capsys):
    monkeypatch.setenv("FAILS", "0-1000000")
    assert main(["tune", "task.py:line", *WORDS, "--trials", "8"]) == 2
    assert (
        "task line fails in its first steps: KeyError: 'a broken task'" in capsys.readouterr().err
    )


def full(monkeypatch, after):
    """Let the disk be full after `after` records: half of the next one is still written."""
    records, pwrite = [], os.pwrite

    def write(file, text, location):
        records.append(text)
        if len(records) <= after:
            return pwrite(file, text, location)
        pwrite(file, text[: len(text) // 2], location)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lrsearch.study.journal.os.pwrite", write)


@pytest.mark.parametrize("after", [*range(8), 11, 20])
def test_a_full_disk_is_one_clear_error_and_loses_no_ended_trial(tmp_path, monkeypatch, after):
    whole = search(Bowl(), tmp_path / "a", trials=9, sampler="random")
    with monkeypatch.context() as patched:
        full(patched, after)
        with pytest.raises(SearchFailed, match="No space left on device; ended trials are kept"):
            search(Bowl(), tmp_path / "b", trials=9, sampler="random")
    assert asked(search(Bowl(), tmp_path / "b", trials=9, sampler="random")) == asked(whole)


@pytest.mark.parametrize("slots", [1, 4])
def test_a_study_that_is_deleted_while_it_is_searched_is_one_clear_error(tmp_path, slots):
    class Deleting(Bowl):
        def outcome(self, run):
            if run.trial == 3:
                storage = open_journal(tmp_path / "x.journal")
                storage.delete_study(storage.get_study_id_from_name("s"))
            return super().outcome(run)

    with pytest.raises(SearchFailed, match="the study was deleted while it was in use; run the"):
        search(Deleting(slots=slots), tmp_path, trials=9, sampler="random")


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("function", ["pread", "fstat", "fsync"])
@pytest.mark.parametrize("after", [5, 15, 25])
def test_a_network_disk_that_is_gone_is_one_clear_error_and_loses_no_ended_trial(
    tmp_path, monkeypatch, code, function, after
):
    whole = search(Bowl(), tmp_path / "a", trials=9, sampler="random")
    real, calls = getattr(os, function), itertools.count()

    def gone(*arguments):
        if next(calls) >= after:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(f"lrsearch.study.journal.os.{function}", gone)
        with pytest.raises(SearchFailed, match=f"{os.strerror(code)}; ended trials are kept"):
            search(Bowl(), tmp_path / "b", trials=9, sampler="random")
    assert asked(search(Bowl(), tmp_path / "b", trials=9, sampler="random")) == asked(whole)


@pytest.fixture
def small(tmp_path):
    """A disk of one megabyte."""
    path = tmp_path / "small"
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(words, timeout=30, check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield path
    subprocess.run(["umount", "-l", str(path)], timeout=30, check=True)


def test_a_search_continues_once_a_disk_that_was_really_full_has_space(small, monkeypatch, capsys):
    monkeypatch.chdir(small)
    monkeypatch.setenv("ODD", "nan loss")
    filler = small / "filler"
    filler.write_bytes(bytes(2**20 - 60_000))
    assert main([*ODD, "--trials", "60"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    ended = len(api.load("odd-default").trials)
    assert 0 < ended < 60
    filler.unlink()
    assert main([*ODD, "--trials", "60"]) == 0
    assert [t.index for t in api.load("odd-default").trials] == list(range(60))


def test_on_a_read_only_disk_studies_are_shown_and_searches_refused(small, monkeypatch, capsys):
    monkeypatch.chdir(small)
    monkeypatch.setenv("ODD", "shouts")
    words = [*ODD, "--trials", "2"]
    assert main(words) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small)], timeout=30, check=True)
    capsys.readouterr()
    assert main([*ODD, "--trials", "4"]) == 2
    assert "cannot write lrsearch-studies: Read-only file system" in capsys.readouterr().err
    assert main([*words, "--study", "other"]) == 2
    assert main(["show", "odd-default"]) == 0
    assert main(["status"]) == 0
    assert main(["repair", "odd-default"]) == 2
    assert main(["doctor", "--tracking-uri", "none"]) == 1
    assert "storage" in capsys.readouterr().err


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_that_is_moved_or_replaced_is_one_clear_error(tmp_path, replaced):
    path = tmp_path / "x.journal"

    class Vanishing(Bowl):
        def outcome(self, run):
            if run.trial == 3:
                path.rename(tmp_path / "kept")
                if replaced:
                    path.write_text("something else\n")
            return super().outcome(run)

    message = "replaced by another file" if replaced else "cannot open .* any more"
    with pytest.raises(SearchFailed, match=message):
        search(Vanishing(), tmp_path, trials=6)
    (tmp_path / "kept").replace(path)
    assert len(search(Bowl(), tmp_path, trials=6).trials) == 6


def test_a_clock_that_jumps_back_changes_nothing(tmp_path, monkeypatch):
    whole = search(Bowl(), tmp_path / "a", trials=8)
    now = [2e9]

    def back():
        now[0] -= 3600.0
        return now[0]

    monkeypatch.setattr(time, "time", back)
    assert asked(search(Bowl(), tmp_path / "b", trials=8)) == asked(whole)


def test_a_pipe_in_the_place_of_a_journal_is_refused(tmp_path):
    os.mkfifo(tmp_path / "x.journal")
    with pytest.raises(RequestError, match="is not a regular file"):
        search(Bowl(), tmp_path, trials=2)


@pytest.mark.parametrize("name", ["x.journal", "x.lock"])
def test_a_link_in_the_place_of_a_file_is_refused(tmp_path, name):
    target = tmp_path / "elsewhere"
    (tmp_path / name).symlink_to(target)
    with pytest.raises(RequestError, match=r"symbolic link"):
        search(Bowl(), tmp_path, trials=2)
    assert not target.exists()


def test_a_link_in_the_place_of_a_runs_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s.runs").symlink_to(tmp_path / "elsewhere")

    class Keeps(Bowl):
        def outcome(self, run):
            (run.folder / "checkpoint").touch()
            return super().outcome(run)

    with pytest.raises(RequestError, match=r"s.runs is a symbolic link"):
        search(Keeps(), tmp_path, trials=2)
    assert not list((tmp_path / "elsewhere").iterdir())
