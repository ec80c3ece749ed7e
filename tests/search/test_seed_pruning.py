"""Seed pruning skips the remaining seeds of clearly worse schedules and changes nothing else."""

import numpy as np
import pytest

from lrsearch import Schedule
from lrsearch.outcome import Outcome, Trial
from lrsearch.search.seed_pruning import ERRORS, SeedPruner, hopeless
from lrsearch.seeding import stream
from tests.doubles import Bowl, asked, search


class Noisy(Bowl):
    """A bowl with noise, part of which all trials of a seed share."""

    def value(self, run):
        common = stream(run.seed, "common").normal()
        own = stream(run.seed, "own", run.trial).normal()
        return super().value(run) + 0.1 * common + 0.01 * own


def test_hopeless_values_are_three_standard_errors_worse_on_the_same_seeds():
    incumbent = [1.0, 2.0, 3.0, 4.0]
    assert hopeless([1.31], incumbent, 0.1)
    assert not hopeless([1.29], incumbent, 0.1)
    assert hopeless([1.22, 2.22], incumbent, 0.1)  # two seeds reduce the error by √2
    assert not hopeless([1.20, 2.20], incumbent, 0.1)
    rng = stream(0, "racing")
    wrong = [hopeless([rng.normal()], [0.0], 1.0) for _ in range(20_000)]
    assert np.mean(wrong) == pytest.approx(0.00135, abs=0.0008)  # beyond 3 standard deviations
    assert ERRORS == 3


@pytest.mark.parametrize(
    ("seeds", "known", "most"),
    [(2, 10, 0.05), (3, 40, 0.01), pytest.param(5, 100, 0.01, marks=pytest.mark.slow)],
)
def test_equal_schedules_are_rarely_pruned(seeds, known, most):
    """The incumbent is the best by luck, and noise is estimated from few seeds."""
    rng, lost = stream(seeds, "equal"), 0

    def trial(index):
        values = 10 + rng.normal(size=seeds)
        outcomes = tuple(
            Outcome(trial=index, replicate=r, state="finished", value=float(v))
            for r, v in enumerate(values)
        )
        return Trial(index=index, schedule=Schedule(peak=0.1), outcomes=outcomes)

    for _ in range(500):
        race = SeedPruner({i: trial(i) for i in range(known)}, seeds)
        values = list(10 + rng.normal(size=seeds))
        lost += any(race.lost(values[:m]) for m in range(1, seeds))
    assert lost / 500 <= most


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_pruning_saves_runs_and_finds_the_same_best_trial(tmp_path, slots, sampler):
    words = {"trials": 40, "seeds": 5, "sampler": sampler}
    raced, every = Noisy(slots=slots), Noisy(slots=slots)
    found = search(raced, tmp_path / "a", **words)
    whole = search(every, tmp_path / "b", **words, pruner="none")
    assert found.counts["pruned"] > 10
    assert whole.counts["pruned"] == 0
    assert len(raced.seeds) < (0.7 if slots == 1 else 0.95) * len(every.seeds)
    if sampler == "random":  # the same schedules
        assert found.best.schedule == whole.best.schedule
        assert found.best.value == whole.best.value
    for trial in found.trials:
        if trial.state == "pruned":
            assert trial.value is None
            assert trial.estimate > found.best.value
            twin = whole.trial(trial.index)
            if twin.schedule == trial.schedule:  # easy seeds do not lower a paired estimate
                assert trial.estimate == pytest.approx(twin.value, abs=0.05)
            assert "clearly worse than the best trial" in trial.reason


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_slots_and_interruptions_do_not_change_which_trials_are_pruned(tmp_path, sampler):
    words = {"trials": 40, "seeds": 3, "sampler": sampler}
    whole = search(Noisy(slots=6), tmp_path / "a", **words)
    assert whole.counts["pruned"] > 3
    stopped = Noisy(slots=6, stop_after=50)
    with pytest.raises(KeyboardInterrupt):
        search(stopped, tmp_path / "b", **words)
    assert asked(search(Noisy(slots=6), tmp_path / "b", **words)) == asked(whole)
    with pytest.raises(KeyboardInterrupt):  # a study keeps its window with other slots
        search(Noisy(slots=6, stop_after=20), tmp_path / "c", **words)
    assert asked(search(Noisy(slots=2), tmp_path / "c", **words)) == asked(whole)


def test_a_trial_ends_with_its_first_diverged_seed(tmp_path):
    objective = Bowl(limit=1e-9)
    result = search(objective, tmp_path, trials=4, seeds=5)
    assert result.counts["diverged"] == 4
    assert len(objective.seeds) == 4


def test_trials_of_one_seed_are_never_pruned(tmp_path):
    assert search(Noisy(), tmp_path, trials=30, sampler="random").counts["pruned"] == 0
