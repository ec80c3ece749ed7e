"""The loop: schedules depend only on the seed and outcomes, and no ended trial is lost."""

import json
import math

import pytest

from lrsearch import Schedule
from lrsearch.errors import RequestError, SearchFailed
from lrsearch.space import Space
from tests.doubles import PEAK, Bowl, Memory, asked, search

SAMPLERS = ["gp", "tpe", "qmc", "random", "auto"]


def test_trial_0_is_the_default_schedule(tmp_path):
    result = search(Bowl(), tmp_path, trials=1)
    assert result.trials[0].schedule == Schedule(peak=PEAK.middle, warmup=0.05)


@pytest.mark.parametrize(
    "sampler", [pytest.param(s, marks=pytest.mark.slow) if s == "auto" else s for s in SAMPLERS]
)
@pytest.mark.parametrize("slots", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_resumed_search_runs_the_same_schedules_as_an_uninterrupted_one(
    tmp_path, sampler, slots
):
    whole = search(Bowl(slots=slots), tmp_path / "a", trials=30, sampler=sampler)
    with pytest.raises(KeyboardInterrupt):
        search(Bowl(slots=slots, stop_after=17), tmp_path / "b", trials=30, sampler=sampler)
    parts = search(Bowl(slots=slots), tmp_path / "b", trials=23, sampler=sampler)
    assert len(parts.trials) == 23
    parts = search(Bowl(slots=slots), tmp_path / "b", trials=30, sampler=sampler)
    assert asked(parts) == asked(whole)


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_model_learns_from_exactly_the_outcomes_in_its_window(tmp_path, sampler):
    """Trial n sees the trials before n - W, so trial 12 first affects trial 12 + W + 1."""

    class Changed(Bowl):
        def value(self, run):
            return super().value(run) * (0.01 if run.trial == 12 else 1.0)

    slots, window = 3, 5
    plain = search(Bowl(slots=slots), tmp_path / "a", trials=26, sampler=sampler)
    changed = search(Changed(slots=slots), tmp_path / "b", trials=26, sampler=sampler)
    pairs = zip(plain.trials, changed.trials, strict=True)
    differ = [a.index for a, b in pairs if a.schedule != b.schedule]
    assert min(differ) == 12 + window + 1


def test_different_seeds_run_different_schedules(tmp_path):
    a = search(Bowl(), tmp_path / "a", trials=5, seed=0)
    b = search(Bowl(), tmp_path / "b", trials=5, seed=1)
    assert [t.schedule for t in a.trials[1:]] != [t.schedule for t in b.trials[1:]]


def mean_of_the_last(result, trials):
    values = [t.value for t in result.trials[-trials:] if t.value is not None]
    return math.fsum(values) / len(values)


@pytest.mark.parametrize("sampler", ["gp", "tpe", pytest.param("auto", marks=pytest.mark.slow)])
def test_models_propose_points_where_values_are_low(tmp_path, sampler):
    guided = search(Bowl(), tmp_path / "a", trials=40, sampler=sampler)
    blind = search(Bowl(), tmp_path / "b", trials=40, sampler="random")
    assert mean_of_the_last(guided, 20) < 0.5 * mean_of_the_last(blind, 20)


@pytest.mark.parametrize("untrained", [pytest.param(None, marks=pytest.mark.slow), 2.0])
@pytest.mark.parametrize("sampler", [pytest.param("gp", marks=pytest.mark.slow), "tpe"])
def test_the_sampler_learns_from_diverged_trials(tmp_path, sampler, untrained):
    """The best peak is half a decade below the limit; a third of the range is above it."""
    bowl = Bowl(limit=0.1, untrained=untrained)
    result = search(bowl, tmp_path, trials=60, sampler=sampler)
    states = [t.state for t in result.trials]
    assert "diverged" in states[:30]
    assert states[30:].count("diverged") <= 3


def test_all_trials_use_the_same_seeds_and_average_their_values(tmp_path):
    bowl = Bowl(slots=3)
    result = search(bowl, tmp_path, trials=4, seeds=3)
    by_replicate = {}
    for _, replicate, seed in bowl.seeds:
        by_replicate.setdefault(replicate, set()).add(seed)
    assert sorted(by_replicate) == [0, 1, 2]
    assert all(len(seeds) == 1 for seeds in by_replicate.values())
    for trial in result.trials:
        values = [o.value for o in trial.outcomes]
        assert [o.replicate for o in trial.outcomes] == [0, 1, 2]
        assert trial.value == math.fsum(values) / 3


def test_a_complete_study_starts_no_runs(tmp_path):
    first = search(Bowl(), tmp_path, trials=5)
    bowl, memory = Bowl(), Memory()
    again = search(bowl, tmp_path, trials=5, tracker=memory)
    assert asked(again) == asked(first)
    assert (bowl.yielded, memory.facts, memory.ends) == (0, None, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 21}, "steps was 20, is now 21"),
        ({"batch": 2}, "batch was 1, is now 2"),
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"seeds": 2}, "seeds was 1, is now 2"),
        ({"space": Space.load("linear")}, "space decay was cosine, is now polynomial"),
        ({"objective": Bowl(version=2)}, "version was 1, is now 2"),
    ],
)
def test_a_study_with_different_settings_is_refused_with_the_difference(tmp_path, change, message):
    search(Bowl(), tmp_path, trials=2)
    objective = change.pop("objective", Bowl())
    with pytest.raises(RequestError, match=message):
        search(objective, tmp_path, trials=2, **change)


def test_a_study_continues_with_another_sampler_or_number_of_slots(tmp_path):
    search(Bowl(slots=2), tmp_path, trials=3, sampler="random")
    assert len(search(Bowl(slots=4), tmp_path, trials=6, sampler="tpe").trials) == 6


def test_the_tracker_receives_every_trial_once_and_the_final_state(tmp_path):
    memory = Memory()
    result = search(Bowl(slots=3), tmp_path, trials=9, tracker=memory)
    assert sorted(t.index for t in memory.trials) == list(range(9))
    assert [state for _, state in memory.ends] == ["finished"]
    assert memory.facts.spec.name == "s"
    assert asked(memory.ends[0][0]) == asked(result)


def test_an_objective_that_raises_does_not_damage_the_study(tmp_path):
    memory = Memory()
    with pytest.raises(KeyboardInterrupt):
        search(Bowl(stop_after=4), tmp_path, trials=9, tracker=memory)
    assert [state for _, state in memory.ends] == ["failed"]
    assert len(search(Bowl(), tmp_path, trials=4).trials) == 4


def test_a_search_with_only_failed_trials_stops_with_the_reason(tmp_path):
    class Broken(Bowl):
        def outcome(self, run):
            return run.end("failed", reason="ZeroDivisionError: division by zero")

    with pytest.raises(SearchFailed, match=r"3 trials in a row failed.*division by zero"):
        search(Broken(), tmp_path, trials=50)


def test_no_trial_starts_after_the_timeout(tmp_path):
    result = search(Bowl(), tmp_path, trials=100_000, timeout=0.3, sampler="random")
    assert 0 < len(result.trials) < 100_000


def test_values_are_stored_raw_and_divergence_as_a_finite_penalty(tmp_path):
    import optuna

    result = search(Bowl(limit=0.05), tmp_path, trials=15, sampler="random")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "x.journal"))
    storage = optuna.storages.journal.JournalStorage(backend)
    study = optuna.load_study(study_name="s", storage=storage)
    kept = {t.user_attrs["lrsearch"]["index"]: t for t in study.trials}
    seen = []
    for trial in result.trials:
        frozen = kept[trial.index]
        assert frozen.state.name == "COMPLETE"
        assert frozen.value == (trial.value if trial.value is not None else max(seen))
        seen += [trial.value] if trial.value is not None else []
    assert "diverged" in {t.state for t in result.trials}
    text = (tmp_path / "x.journal").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} was written"))


def test_a_budget_that_leaves_no_decay_is_refused_before_anything_is_written(tmp_path):
    space = Space.from_yaml("decay: cosine\nwarmup: {low: 0, high: 0.99}")
    with pytest.raises(RequestError, match="has invalid schedules"):
        search(Bowl(), tmp_path, space=space, trials=2, steps=3)
    assert not list(tmp_path.iterdir())


def test_a_space_without_a_free_field_has_one_schedule(tmp_path):
    space = Space.from_yaml("decay: cosine\npeak: 0.1")
    result = search(Bowl(), tmp_path, space=space, trials=3)
    assert {t.schedule for t in result.trials} == {Schedule(peak=0.1)}
