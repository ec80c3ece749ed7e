"""Processes killed at any time: every trial ends once, with the results of an unbroken search."""

import collections
import signal

import pytest

from tests.survival.swarm import (
    SLOW,
    STUDY,
    check_every_trial_ended_once,
    essence,
    nap,
    result_of,
    swarm,
)

TENTH = pytest.param(10, id="tenth")
FULL = pytest.param(100, id="full", marks=pytest.mark.slow)
UNTRACKED = ["--tracking-uri", "none"]
WINK = [f"{STUDY}:wink", "--sampler", "tpe", "--trials", "20", "--max-retries", "1000", *UNTRACKED]
DIGITS = ["digits", "--steps", "20", "--trials", "16", "--slots", "4", "--sampler", "tpe"]


@pytest.mark.parametrize("kills", [TENTH, FULL])
def test_four_processes_are_killed_at_random_and_every_trial_ends_once(tmp_path, kills):
    words = nap(15 * kills, "--no-compare", "--sampler", "random", *UNTRACKED)
    found, code = swarm(tmp_path, words, kills=kills, alive=4, between=(0.02, 0.2), seed=1)
    assert code == 0
    # Most kills must hit a running search; how many hit a running trial depends on the machine.
    assert found > 0.7 * kills
    assert check_every_trial_ended_once(tmp_path, "nap-default", 15 * kills) > 0.1 * kills


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mlflow_has_every_trial_once_after_a_hundred_kills(tmp_path):
    from mlflow.tracking import MlflowClient

    words = nap(1000, "--no-compare", "--sampler", "random")
    how = {"kills": 100, "alive": 4, "between": (0.1, 0.9), "seed": 2}
    found, code = swarm(tmp_path, words, seconds=SLOW, **how)
    assert code == 0
    assert found > 50
    check_every_trial_ended_once(tmp_path, "nap-default", 1000)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    page = client.search_runs([experiment], max_results=1000)
    runs = [*page, *client.search_runs([experiment], max_results=1000, page_token=page.token)]
    keys = collections.Counter(run.data.tags.get("lrsearch.key") for run in runs)
    assert sorted(keys.items(), key=str) == sorted(
        [(None, 1), *((f"trial-{i:04d}", 1) for i in range(1000))], key=str
    )
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Return the results of a search and its comparison without interruptions."""
    folder = tmp_path_factory.mktemp("twin")
    swarm(folder, WINK, kills=0, alive=0, between=(0, 0), seed=0)
    return essence(result_of(folder, "wink-default"))


@pytest.mark.parametrize(
    ("how", "seed"),
    [
        (signal.SIGKILL, 0),
        *(
            pytest.param(how, seed, marks=pytest.mark.slow)
            for how in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
            for seed in (1, 2, 3)
        ),
    ],
)
def test_a_search_that_is_killed_repeatedly_has_the_results_of_an_uninterrupted_one(
    tmp_path, twin, how, seed
):
    """The search lasts two seconds and the comparison three, so kills hit both."""
    kills = {"kills": 10, "alive": 1, "between": (0.05, 0.5), "seed": seed}
    found, code = swarm(tmp_path, WINK, signal=int(how), **kills)
    assert code == 0
    assert found >= 3
    assert essence(result_of(tmp_path, "wink-default")) == twin


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_population_has_the_results_of_an_uninterrupted_one(tmp_path):
    """The number of slots is fixed for the study, and runs do not affect each other's results."""
    words, found = [*DIGITS, "--max-retries", "1000", *UNTRACKED], {}
    for kills in (0, 8):
        (tmp_path / str(kills)).mkdir()
        how = {"kills": kills, "alive": 1, "between": (4.0, 8.0), "seed": 1, "fresh": True}
        hit, code = swarm(tmp_path / str(kills), words, seconds=SLOW / 2, **how)
        assert code == 0
        assert hit >= kills / 3
        found[kills] = essence(result_of(tmp_path / str(kills), "digits-default"))
    assert found[8] == found[0]
