"""A budget of runs: search and comparison together, interrupted and continued."""

import json
import math

import pytest
from scipy import stats

import lrsearch
from lrsearch import Schedule
from lrsearch.api import preview as preview_of
from lrsearch.cli import main
from lrsearch.comparison import EVIDENCE
from lrsearch.errors import RequestError
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.seeding import stream
from lrsearch.sequential import Looks
from lrsearch.study.settings import trials_of
from tests.doubles import Bowl, Watch

ASKED = {"space": "cosine", "tracking_uri": "none", "sampler": "random"}


class Training(Bowl):
    """An objective with noise whose runs last half a minute, as they say."""

    def value(self, run):
        own = stream(run.seed, "own", *(int(1e6 * lr) for lr in run.plan.lr[[3, 10, -1]])).normal()
        return 1.0 + (math.log10(float(run.plan.lr.max())) + 1.5) ** 2 + 0.01 * own

    def outcome(self, run):
        ended = super().outcome(run)
        object.__setattr__(ended, "seconds", 30.0)
        return ended


def tune(objective, folder, **words):
    return lrsearch.tune(objective, study="s", storage=folder / "s.journal", **ASKED, **words)


@pytest.mark.parametrize(
    ("runs", "search", "comparison"),
    [(4, 4, 0), (8, 8, 0), (11, 11, 0), (12, 6, 6), (15, 8, 6), (24, 12, 12), (60, 30, 30)],
)
def test_a_budget_is_divided_between_the_search_and_its_comparison(
    tmp_path, runs, search, comparison
):
    objective = Training()
    result = tune(objective, tmp_path, runs=runs)
    used = result.to_dict()["runs"]
    assert used["search"] == search
    assert len(objective.seeds) == sum(used.values()) <= search + comparison <= runs
    chosen = result.recommended
    if not comparison:
        assert chosen.evidence == "not compared"
        return
    assert chosen.evidence in EVIDENCE[:4]
    found = result.comparison
    if runs == 60:  # two baselines are tuned with five runs each, the better one is compared
        assert {*found.versus, *found.unreported} == {"linear", "cosine"}
        assert [len(each.peaks) for each in found.baselines] == [5]
        assert found.looks.seeds == 10
        return
    assert list(found.contenders) == ["searched", "default"]
    assert found.looks.seeds == comparison // 2
    values = {name: each.array for name, each in found.contenders.items()}
    p = stats.ttest_rel(values["searched"], values["default"]).pvalue
    assert found.versus["default"].p == pytest.approx(p)


def test_a_large_budget_is_a_comparison_with_tuned_baselines(tmp_path):
    objective = Training()
    result = tune(objective, tmp_path, runs=240)
    assert len(objective.seeds) <= 240
    assert {"linear", "cosine"} <= set(result.comparison.contenders)
    assert len(result.comparison.best.peaks) >= 3


def test_the_current_schedule_is_the_opponent(tmp_path):
    today = Schedule(peak=0.003, warmup=0.1)
    result = tune(Training(), tmp_path, runs=24, current=today)
    found = result.comparison
    assert list(found.contenders) == ["searched", "current"]
    assert found.contenders["current"].schedule == today
    assert result.trials[0].schedule == today
    assert result.recommended.name == "searched"  # a peak of .003 is far from the best one, .03
    assert result.recommended.evidence == "better"
    assert "your current schedule with peak 0.003" in result.recommended.sentence


def test_if_the_opponent_is_the_best_trial_the_next_one_is_compared_with_it(tmp_path):
    best = Schedule(peak=10**-1.5)
    result = tune(Training(), tmp_path, runs=12, current=best)
    found = result.comparison
    assert found.contenders["searched"].schedule != best
    assert result.recommended.name == "current"


def test_a_larger_budget_continues_and_never_exceeds_it(tmp_path):
    objective = Training()
    for runs in (6, 12, 24, 40, 40):
        result = tune(objective, tmp_path, runs=runs)
        assert len(objective.seeds) <= runs
    assert result.counted == 20
    assert result.comparison is not None


@pytest.mark.parametrize("stop", [3, 12, 17])
def test_an_interrupted_budget_gives_the_same_answer(tmp_path, stop):
    whole = tune(Training(), tmp_path / "a", runs=24)
    with pytest.raises(KeyboardInterrupt):
        tune(Training(stop_after=stop), tmp_path / "b", runs=24)
    rest = Training()
    parts = tune(rest, tmp_path / "b", runs=24)
    assert parts.comparison == whole.comparison
    assert parts.recommended == whole.recommended
    assert stop + len(rest.seeds) <= 24 + whole.comparison.seeds  # at most one schedule again


@pytest.mark.parametrize("runs", [60, 130, 300])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_an_interrupted_large_comparison_gives_the_same_answer(tmp_path, runs, share):
    whole = tune(Training(), tmp_path / "a", runs=runs)
    stop = runs // 2 + int(share * whole.comparison.runs)
    with pytest.raises(KeyboardInterrupt):
        tune(Training(stop_after=stop), tmp_path / "b", runs=runs)
    assert tune(Training(), tmp_path / "b", runs=runs).comparison == whole.comparison


def test_the_same_comparison_again_runs_nothing(tmp_path):
    result = tune(Training(), tmp_path, trials=40, compare=False)
    for asked in ({"runs": 60}, {"runs": 200}, {"against": ["cosine"]}):
        found = lrsearch.compare(result, **asked)
        objective = Training()
        assert lrsearch.compare(result, objective=objective, **asked) == found
        assert objective.seeds == []


@pytest.mark.parametrize("runs", [24, 50, 70, 120, 300])
def test_the_current_schedule_is_compared_within_every_budget(tmp_path, runs):
    objective = Training()
    found = tune(objective, tmp_path, runs=runs, current=Schedule(peak=0.3, decay="constant"))
    assert len(objective.seeds) <= runs
    assert next(iter(found.comparison.versus)) == "current"
    assert found.comparison.best_baseline in found.comparison.versus


def test_a_budget_that_grows_is_never_exceeded(tmp_path):
    for seed in range(4):
        objective = Training()
        for runs in (20, 50, 60, 75):
            tune(objective, tmp_path / str(seed), runs=runs, seed=seed)
            assert len(objective.seeds) <= runs


def test_a_comparison_with_own_settings_stays_within_the_budget(tmp_path):
    objective = Training()
    tune(objective, tmp_path, runs=60, compare=ComparisonSpec())
    assert len(objective.seeds) <= 60


def test_seeds_count_as_runs(tmp_path):
    objective = Training()
    result = tune(objective, tmp_path, runs=24, seeds=3)
    assert result.counted == 4
    assert len(objective.seeds) <= 24


def test_without_a_comparison_all_runs_search(tmp_path):
    result = tune(Training(), tmp_path, runs=24, compare=False)
    assert (result.counted, result.comparison) == (24, None)
    with pytest.raises(RequestError, match="`seeds=` is 0"):
        tune(Training(), tmp_path, runs=24, seeds=0, compare=False)


def test_an_exact_objective_is_compared_in_full(tmp_path):
    result = tune("quadratic", tmp_path, runs=12)
    assert result.counted == 6
    assert {"linear", "cosine"} <= set(result.comparison.contenders)


def test_trials_and_runs_exclude_each_other(tmp_path, monkeypatch, capsys):
    with pytest.raises(RequestError, match="`trials=` and `runs=` exclude each other"):
        tune(Training(), tmp_path, runs=12, trials=6)
    with pytest.raises(RequestError, match="`runs=` is 0"):
        tune(Training(), tmp_path, runs=0)
    monkeypatch.chdir(tmp_path)
    words = ["tune", "quadratic", "--tracking-uri", "none", "--quiet", "--runs", "12"]
    assert main([*words, "--trials", "6"]) == 2
    assert "--trials and --runs exclude each other" in capsys.readouterr().err
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["runs"]["search"] == 6


def test_the_share_of_the_search_is_that_of_the_budget():
    shares = {runs: trials_of(None, runs, 1) for runs in (1, 8, 11, 12, 24, 60, 120, 600)}
    assert shares == {1: 1, 8: 8, 11: 11, 12: 6, 24: 12, 60: 30, 120: 60, 600: 300}
    assert trials_of(None, 24, 5) == 2
    with pytest.raises(RequestError, match="`runs=` is 2, but one trial has 5 `seeds=`"):
        trials_of(None, 2, 5)
    assert trials_of(None, None, 1) == 100
    assert trials_of(7, None, None) == 7


def test_a_comparison_of_its_own_has_a_budget(tmp_path):
    objective = Training()
    result = tune(objective, tmp_path, trials=12, compare=False)
    begun = len(objective.seeds)
    found = lrsearch.compare(result, runs=13)
    assert (found.seeds, len(objective.seeds) - begun) == (6, 12)
    found = lrsearch.compare(result, runs=20)  # an extension would need 24
    assert (found.seeds, len(objective.seeds) - begun) == (6, 12)
    found = lrsearch.compare(result, runs=24)  # the seeds of the first one count, and are kept
    assert (found.looks.most, len(objective.seeds) - begun) == (12, 24)
    assert lrsearch.compare(result, runs=24) == found
    assert len(objective.seeds) - begun == 24
    found = lrsearch.compare(result, runs=140)
    assert {"linear", "cosine"} <= set(found.contenders)
    assert len(objective.seeds) - begun <= 140
    with pytest.raises(RequestError, match="no comparison fits into 8 runs"):
        lrsearch.compare(result, runs=8)
    with pytest.raises(RequestError, match=r"`runs=` is 5; give an integer in \[6"):
        lrsearch.compare(result, runs=5)
    with pytest.raises(RequestError, match="`runs=` excludes `top=` and `seeds=`"):
        lrsearch.compare(result, runs=24, top=2)


def test_a_preview_tells_what_a_comparison_would_be_and_runs_nothing(tmp_path):
    objective = Training()
    result = tune(objective, tmp_path, trials=12, compare=False)
    begun, place = len(objective.seeds), {"storage": tmp_path / "s.journal"}

    def preview(**asked):
        found = preview_of("s", objective=objective, **place, **asked).plan
        return found.seeds, found.runs, found.looks

    assert preview(runs=13) == (6, 12, Looks(seeds=6))
    assert len(objective.seeds) == begun
    lrsearch.compare(result, runs=13)
    begun = len(objective.seeds)
    assert preview(runs=20) == (6, 12, Looks(seeds=6))  # the next one has 12 seeds
    assert preview(runs=24) == (12, 24, Looks(seeds=6, extended=1))
    seeds, runs, looks = preview(runs=60)
    assert (seeds, looks) == (seeds, Looks(seeds=seeds, spent=1))
    assert runs <= 48  # twelve of the sixty are spent
    assert preview()[2] == Looks(seeds=20, spent=1)
    assert len(objective.seeds) == begun
    with pytest.raises(RequestError, match="no comparison fits into 6 runs"):
        preview(runs=6, against=["cosine"])


def test_a_budget_is_described_before_the_search(tmp_path):
    class Told(Watch):
        def planned(self, budget):
            self.budget = budget

    for runs, words in (
        (8, "8 runs, all for the search"),
        (24, "12 for the search, at most 12 for a comparison on 6 fresh seeds"),
        (60, "at most 30 for a comparison on 10 fresh seeds, which shows a difference above 1.1"),
    ):
        watch = Told()
        tune(Training(), tmp_path / str(runs), runs=runs, callback=watch)
        assert words in watch.budget
    watch = Told()
    tune("quadratic", tmp_path / "exact", runs=12, callback=watch)
    assert not hasattr(watch, "budget")  # exact values need no seeds
