"""The Slurm script with replacements for Slurm's commands: what it runs, when it is requeued.

The script was also tried on a real Slurm 22.05, as an array of two jobs. One of them got SIGTERM,
was requeued and continued.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lrsearch import api, maintenance
from lrsearch.errors import RequestError
from tests.doubles import wait_until

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sbatch"
TRAIN = """
import time, lrsearch

@lrsearch.objective(peak=(1e-3, 1.0), steps=5, unit="points")
def small_gpt(run):
    time.sleep(0.5)
    return float(run.plan.lr[0])
"""


@pytest.fixture
def job(database, tmp_path, monkeypatch):
    """Return a function that starts the script as Slurm starts a job."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, does in (
        ("srun", f'echo $$ > "{tmp_path}/pid"; exec "$@"'),
        ("scontrol", f'echo "$@" >> "{tmp_path}/scontrol"'),
        ("lrsearch", f'exec {sys.executable} -m lrsearch "$@"'),
    ):
        (commands / name).write_text(f"#!/bin/sh\n{does}\n")
        (commands / name).chmod(0o755)
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("STORAGE", database)
    monkeypatch.setenv("TRIALS", "8")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    return lambda: subprocess.Popen(["bash", str(SCRIPT)], cwd=tmp_path)


@pytest.mark.slow
def test_a_job_that_gets_sigterm_releases_its_trial_and_is_requeued(job, database, tmp_path):
    first = job()
    wait_until(lambda: upkeep_of(database), 60)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)  # Slurm signals the step alone
    assert first.wait(60) == 143
    assert (tmp_path / "scontrol").read_text() == "requeue 4711\n"
    standing = upkeep_of(database)
    assert (standing.running, standing.orphans, standing.lost) == ((), (), 0)
    both = [job(), job()]
    assert [process.wait(120) for process in both] == [0, 0]
    assert (tmp_path / "scontrol").read_text() == "requeue 4711\n"
    trials = api.load("small_gpt-default", storage=database).trials
    assert [t.index for t in trials] == list(range(8))


def upkeep_of(database):
    """Return the status of the study, or None until one of its trials has ended."""
    try:
        standing = maintenance.status("small_gpt-default", storage=database)[0]
    except RequestError:
        return None
    return standing if sum(standing.trials.values()) else None


def test_the_script_asks_for_the_url_of_a_database(job, monkeypatch, capfd):
    monkeypatch.delenv("STORAGE")
    assert job().wait(10) != 0
    assert "give the URL of a database" in capfd.readouterr().err
