"""Two ranks of torchrun search together: rank 0 searches, and both train every run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lrsearch
from lrsearch.errors import RequestError
from tests.doubles import Bowl

SCRIPT = Path(__file__).with_name("ranks_script.py")
ROOT = SCRIPT.parents[2]


@pytest.fixture
def torchrun(tmp_path):
    """Return a function that runs a command on two ranks, and returns the completed process."""

    def run(mode, *command, **words):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        return subprocess.run(
            [sys.executable, *launcher, *(command or (str(SCRIPT),))],
            cwd=tmp_path,
            env={
                **os.environ,
                "MODE": mode,
                "WORDS": json.dumps(words),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def ran(folder, rank):
    lines = (folder / f"rank-{rank}").read_text().splitlines()
    return [json.loads(line) for line in lines]


def results(folder):
    return [json.loads((folder / f"result-{rank}").read_text()) for rank in (0, 1)]


def test_every_rank_trains_the_same_runs_and_gets_the_same_result(torchrun, tmp_path):
    done = torchrun("", compare=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ran(tmp_path, 0), ran(tmp_path, 1)
    assert first == second
    assert len(first) > 6  # the comparison, too
    study = lrsearch.load("ddp-cosine", storage=tmp_path / "lrsearch-studies/ddp-cosine.journal")
    for run in first[:6]:
        trial = study.trial(run["trial"])
        assert run["rates"] == study.budget.plan(trial.schedule).lr.tolist()
    best = {"best": study.best.index, "value": study.best.value, "counts": study.counts}
    assert results(tmp_path) == [best, best]


def test_a_loss_is_averaged_and_a_diverged_run_ends_on_every_rank(torchrun, tmp_path):
    """Rank 1 alone reports NaN at step 4 of trial 2; the other rank does not wait for it."""
    assert torchrun("").returncode == 0
    assert [run["done"] for run in ran(tmp_path, 0)][:3] == [8, 8, 4]
    study = lrsearch.load("ddp-cosine", storage=tmp_path / "lrsearch-studies/ddp-cosine.journal")
    assert study.trial(2).state == "diverged"
    assert study.trial(2).reason == "diverged at update 4 with loss nan"
    rate, weight, losses = study.budget.plan(study.trial(0).schedule).lr, 1.0, []
    for lr in rate:
        weight -= float(lr) * 1.5 * weight  # the mean gradient of both ranks
        losses.append(1.5 * weight**2)
    assert study.trial(0).outcomes[0].traces["loss"].values == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
def test_an_exception_on_all_ranks_fails_the_run_and_the_search_continues(torchrun, tmp_path):
    assert torchrun("all raise").returncode == 0
    study = lrsearch.load("ddp-cosine", storage=tmp_path / "lrsearch-studies/ddp-cosine.journal")
    assert study.trial(1).state == "failed"
    assert study.trial(1).reason == "rank 0: OSError: disk of rank 0 is full"
    assert study.counted == 6
    assert torchrun("").returncode == 0
    assert [result["counts"]["failed"] for result in results(tmp_path)] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["one raises", "one dies", "other step"])
def test_a_rank_that_does_not_end_the_run_ends_the_search_and_nothing_is_lost(
    torchrun, tmp_path, mode
):
    done = torchrun(mode, max_failures=1)
    assert done.returncode == 1
    assert not list(tmp_path.glob("result-*"))
    expected = {
        "one raises": "OSError: only on rank 1",
        "one dies": "Signal 9 (SIGKILL) received",
        "other step": "the ranks report different steps (3, 5)",
    }
    assert expected[mode] in done.stderr
    place = tmp_path / "lrsearch-studies" / "ddp-cosine.journal"
    assert lrsearch.load("ddp-cosine", storage=place).trial(0).state == "finished"
    assert torchrun("").returncode == 0
    study = lrsearch.load("ddp-cosine", storage=place)
    assert (len(study.trials), study.counts["failed"]) == (6, 0)
    assert results(tmp_path)[0] == results(tmp_path)[1]


@pytest.mark.slow
def test_the_command_line_searches_with_ranks_and_prints_one_answer(torchrun, tmp_path):
    words = ["tune", f"{SCRIPT}:ddp", "--space", "cosine", "--trials", "4"]
    words += ["--tracking-uri", "none", "--sampler", "random", "--no-compare"]
    done = torchrun("", "-m", "lrsearch", *words)
    assert ran(tmp_path, 0) == ran(tmp_path, 1)
    assert done.stdout.count("ddp-cosine: 4 trials") == 1


def test_ranks_that_are_not_connected_are_refused_in_one_line(torchrun, tmp_path):
    done = torchrun("unconnected")
    assert done.returncode == 1
    assert "torchrun has started 2 processes, which are not connected; call" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("objective", "words"),
    [("quadratic", {}), ("digits", {}), (Bowl(), {}), (lambda run: 0.0, {"trial_timeout": "9s"})],
)
def test_what_ranks_cannot_train_together_is_refused(tmp_path, monkeypatch, objective, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RequestError) as caught:
        lrsearch.tune(objective, trials=1, tracking_uri="none", **words, compare=False)
    assert str(caught.value).startswith("torchrun has started 2 processes, ") or words
    with pytest.raises(RequestError, match=r"use `compare=True` in lrsearch\.tune"):
        lrsearch.compare("s")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert (
        lrsearch.tune("quadratic", trials=1, tracking_uri="none", compare=False).counts["finished"]
        == 1
    )
