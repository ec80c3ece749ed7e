"""A proposed point is run unchanged; a study continues with the rules it was created with."""

import dataclasses
import threading

import pytest

import lrsearch
from lrsearch import api
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.sampling.registry import SAMPLERS, Registered
from lrsearch.sampling.sampler import Proposal
from lrsearch.sampling.sequences import Uniform
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.seeding import run_seed
from lrsearch.space import Space
from lrsearch.study import spec
from lrsearch.study.heartbeat import Heartbeat
from lrsearch.study.settings import Settings
from lrsearch.study.store import Store
from tests.doubles import Bowl, Memory, asked, search

SEED = 3


class Repeats:
    """A sampler that draws points for odd trials and repeats each on the seed of replicate 5."""

    independent = False

    def __init__(self, problem):
        self._points = Uniform(problem)

    def ask(self, index, history):
        if index % 2:
            return self._points.ask(index, history)
        return Proposal(point=history.points[index - 1], replicate=5)


@pytest.fixture
def repeats(monkeypatch):
    """Register the sampler as `random`, and return the arguments of a search with it."""
    registered = Registered(module=__name__, factory="Repeats")
    monkeypatch.setitem(SAMPLERS, "random", registered)
    return {"sampler": "random", "seed": SEED}


def replicates(index, seeds=1):
    first = 5 if index and not index % 2 else 0
    return list(range(first, first + seeds))


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_point_proposed_for_another_replicate_is_run_on_the_seed_of_that_replicate(
    tmp_path, repeats, slots, seeds
):
    bowl, memory = Bowl(slots=slots), Memory()
    words = {"trials": 9, "seeds": seeds, "pruner": "none", **repeats}
    result = search(bowl, tmp_path, tracker=memory, **words)
    runs = [(t.index, o.replicate) for t in result.trials for o in t.outcomes]
    expected = [(i, r) for i in range(9) for r in replicates(i, seeds)]
    diverged = {t.index for t in result.trials if t.state == "diverged"}
    assert runs == [run for run in expected if run[0] not in diverged or run[1] in (0, 5)]
    assert {(2, 5), (4, 5), (6, 5), (8, 5)} <= set(runs)
    assert {(t, r): seed for t, r, seed in bowl.seeds}.items() >= {
        run: run_seed(SEED, run[1]) for run in runs
    }.items()
    for index in (2, 4, 6, 8):
        assert result.trial(index).schedule == result.trial(index - 1).schedule
        if result.trial(index).state == "finished":
            assert result.trial(index).value != result.trial(index - 1).value  # another seed
    assert sorted(t.index for t in memory.trials) == list(range(9))


@pytest.mark.parametrize("slots", [1, 4])
def test_a_study_with_repeated_points_is_loaded_continued_and_compared(tmp_path, repeats, slots):
    whole = search(Bowl(slots=slots), tmp_path / "a", trials=12, **repeats)
    with pytest.raises(KeyboardInterrupt):
        search(Bowl(slots=slots, stop_after=4), tmp_path / "b", trials=12, **repeats)
    search(Bowl(slots=slots), tmp_path / "b", trials=7, **repeats)
    storage = str(tmp_path / "b" / "x.journal")
    kept = api.load("s", storage=storage)
    assert [o.replicate for t in kept.trials for o in t.outcomes] == [
        r for i in range(7) for r in replicates(i)
    ]
    parts = search(Bowl(slots=slots), tmp_path / "b", trials=12, **repeats)
    assert asked(parts) == asked(whole)
    assert [t.outcomes for t in parts.trials[:7]] == [t.outcomes for t in kept.trials]
    assert list(parts.to_frame()["value"].dropna()) == [
        t.value for t in parts.trials if t.value is not None
    ]
    compared = search(
        Bowl(slots=slots),
        tmp_path / "b",
        trials=12,
        compare=ComparisonSpec(seeds=5, top=1, against=["cosine"]),
        **repeats,
    )
    assert compared.comparison == api.load("s", storage=storage).comparison
    assert compared.comparison.best.name == f"trial {whole.best.index}"


def test_a_released_trial_is_run_again_on_the_seed_of_its_first_attempt(tmp_path, repeats):
    request = Settings(
        space=Space.load("cosine"), storage=str(tmp_path / "x.journal"), study="s", seed=SEED
    )
    other = Store.join(spec.resolve(request, Bowl().setup))
    other.set_slots(1, 0)
    point = {"peak": 0.05, "warmup": 0.1, "floor": 0.2}
    with Heartbeat(other.storage, other.key, other.lock, other.clock) as heartbeat:
        running = other.table.join(heartbeat)
        assert running.begin(1, point, 9)
        release = threading.Timer(0.7, running.release)
        release.daemon = True
        release.start()
        bowl = Bowl()
        result = search(bowl, tmp_path, trials=3, **repeats)
    assert (1, 9, run_seed(SEED, 9)) in bowl.seeds
    assert [o.replicate for o in result.trial(1).outcomes] == [9]
    assert result.trial(1).schedule.peak == 0.05
    assert result.trial(2).schedule == result.trial(1).schedule  # the sampler got the point


# --- The versions of the rules ----------------------------------------------------------------

TUNE = ["tune", "quadratic", "--steps", "60", "--tracking-uri", "none", "--no-compare"]
NAME = "quadratic-default"


@pytest.fixture
def older(tmp_path, monkeypatch):
    """Return a study of six trials by `random` with the current versions."""
    monkeypatch.chdir(tmp_path)
    assert main([*TUNE, "--quiet", "--sampler", "random", "--trials", "6"]) == 0
    return tmp_path / "lrsearch-studies" / f"{NAME}.journal"


def raise_divergence(monkeypatch):
    monkeypatch.setattr(spec, "DIVERGENCE_VERSION", 3)


def raise_sampler(monkeypatch):
    raised = dataclasses.replace(SAMPLERS["random"], version=3)
    monkeypatch.setitem(SAMPLERS, "random", raised)


RAISED = pytest.mark.parametrize(
    ("change", "rule", "version"),
    [(raise_divergence, "divergence", 2), (raise_sampler, "sampler random", 1)],
)


@RAISED
def test_a_study_of_an_older_version_is_not_continued_and_one_line_gives_the_reason(
    older, monkeypatch, capsys, change, rule, version
):
    change(monkeypatch)
    capsys.readouterr()
    before = older.read_bytes()
    assert main([*TUNE, "--sampler", "random", "--trials", "9"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"study {NAME} was searched with version {version} of the {rule} rule, but " in said
    assert "has version 3; you can still show, export and compare the study; to search" in said
    assert older.read_bytes() == before
    assert len(lrsearch.load(NAME).trials) == 6


@RAISED
def test_a_study_of_an_older_version_is_loaded_exported_and_compared(
    older, monkeypatch, capsys, change, rule, version
):
    kept = lrsearch.load(NAME)
    change(monkeypatch)
    assert asked(lrsearch.load(NAME)) == asked(kept)
    assert main(["show", NAME]) == 0
    capsys.readouterr()
    assert main(["export", NAME, "--to", "json"]) == 0
    assert lrsearch.Schedule.from_json(capsys.readouterr().out) == kept.best.schedule
    found = lrsearch.compare(NAME, top=2, against=["linear"], tracking_uri="none")
    assert found.best.schedule.peak > 0
    assert lrsearch.load(NAME).comparison == found
    # The study is complete, so the changed rule does not matter.
    assert main([*TUNE, "--sampler", "random", "--trials", "6"]) == 0


@RAISED
def test_a_new_study_continues_with_the_versions_that_it_was_created_with(
    older, monkeypatch, change, rule, version
):
    change(monkeypatch)
    words = [*TUNE, "--quiet", "--sampler", "random", "--study", "newer"]
    for trials in (3, 5):
        assert main([*words, "--trials", str(trials)]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(older.parent.parent)
    with pytest.raises(RequestError, match=f"version 3 of the {rule} .* has version {version}"):
        lrsearch.tune(
            "quadratic",
            steps=60,
            trials=9,
            sampler="random",
            study="newer",
            tracking_uri="none",
            compare=False,
        )


def test_a_study_continues_with_a_sampler_whose_version_has_not_changed(older, monkeypatch):
    raise_sampler(monkeypatch)
    assert main([*TUNE, "--quiet", "--sampler", "qmc", "--trials", "8"]) == 0
    assert len(lrsearch.load(NAME).trials) == 8
