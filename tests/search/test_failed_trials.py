"""Failed trials do not count: they are replaced, avoided by models, and retried later."""

import itertools
import math
import threading
import time

import pytest

from lrsearch import Schedule, api
from lrsearch.errors import SearchFailed
from lrsearch.outcome import Outcome, Trial
from lrsearch.search.asking import Asker
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.space import Space
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from tests.doubles import Bowl, asked, search, wait_for_threads


class Broken(Bowl):
    """A bowl whose runs fail for some trials, or above a peak, and that counts its runs."""

    def __init__(self, *, trials=(), above=math.inf, **words):
        super().__init__(limit=math.inf, **words)
        self.trials, self.above = trials, above

    def outcome(self, run):
        compared = "select" in run.home or "report" in run.home
        broken = run.trial in self.trials and not compared
        if broken or run.plan.lr.max() > self.above:
            return run.end("failed", reason="OSError: no space left")
        return super().outcome(run)

    @property
    def ran(self):
        return [trial for trial, _, _ in self.seeds]


def test_failed_trials_are_replaced_within_the_same_search(tmp_path):
    result = search(Broken(trials=(2, 5, 8)), tmp_path, trials=8)
    assert result.counts == {"finished": 8, "diverged": 0, "pruned": 0, "failed": 3}
    assert [trial.index for trial in result.trials] == list(range(11))
    assert result.counted == 8


@pytest.mark.parametrize("slots", [1, 4])
def test_the_same_command_retries_failed_trials_before_it_begins_others(tmp_path, slots):
    first = Broken(trials=(0, 3, 4), slots=slots, stop_after=9)
    with pytest.raises(KeyboardInterrupt):
        search(first, tmp_path, trials=12, max_failures=9)
    fixed = Broken(slots=slots)
    result = search(fixed, tmp_path, trials=12)
    assert result.counts["finished"] == len(result.trials) == 12
    assert {0, 3, 4} < set(fixed.ran)
    assert slots > 1 or fixed.ran[:3] == [0, 3, 4]
    assert len(fixed.ran) == len(set(fixed.ran))


@pytest.mark.parametrize("sampler", ["gp", "tpe", "qmc"])
@pytest.mark.parametrize("slots", [1, 4])
def test_after_the_code_is_fixed_the_search_equals_one_that_never_failed(tmp_path, sampler, slots):
    words = {"trials": 20, "sampler": sampler}
    whole = search(Broken(slots=slots), tmp_path / "a", **words)
    with pytest.raises(SearchFailed, match=r"3 trials in a row failed.*same command again"):
        search(Broken(slots=slots, above=0.0), tmp_path / "b", **words)
    assert asked(search(Broken(slots=slots), tmp_path / "b", **words)) == asked(whole)


def test_a_complete_search_retries_its_failed_trials_and_runs_no_others(tmp_path):
    own = Schedule(peak=0.02, decay="rex")
    queue = {"enqueue": [own]}
    broken = search(Broken(trials=(0, 1, 6)), tmp_path, trials=8, **queue)
    assert broken.counted == 8
    assert [broken.trial(i).state for i in (0, 1, 6)] == ["failed"] * 3
    fixed = Broken()
    result = search(fixed, tmp_path, trials=8, **queue)
    assert fixed.ran == [0, 1, 6]
    assert result.trial(0).schedule == own
    assert result.trial(1).schedule == broken.trial(1).schedule
    assert result.counts["finished"] == len(result.trials) == 11
    again = Broken()
    search(again, tmp_path, trials=8, **queue)
    assert not again.ran


def test_trials_that_fail_again_do_not_stop_the_search(tmp_path):
    broken = {"trials": (1, 4, 7)}
    search(Broken(**broken), tmp_path, trials=8)
    result = search(Broken(**broken), tmp_path, trials=16, max_failures=2)
    assert (result.counted, result.counts["failed"]) == (16, 3)


@pytest.mark.parametrize("sampler", ["gp", "tpe", "auto"])
def test_a_model_avoids_a_region_in_which_trials_fail(tmp_path, sampler):
    """The lowest values lie at the edge of the region in which every run fails."""
    broken = Broken(above=0.02)
    result = search(broken, tmp_path, trials=40, sampler=sampler, max_failures=1000)
    failed = [trial.state == "failed" for trial in result.trials]
    runs = [len(list(group)) for state, group in itertools.groupby(failed) if state]
    assert max(runs) <= 4
    assert result.counts["failed"] <= 30
    assert result.best.schedule.peak == pytest.approx(0.02, rel=0.1)


def test_a_search_whose_trials_fail_stops_even_if_few_of_them_do(tmp_path):
    with pytest.raises(SearchFailed, match="2 trials in a row failed"):
        search(Broken(trials=(3, 5, 6)), tmp_path, trials=30, max_failures=2)


def test_a_retry_removes_a_comparison_that_lacks_the_trial(tmp_path):
    compare = ComparisonSpec(seeds=5, against=("cosine",), frugal=True)
    before = search(Broken(trials=(0,)), tmp_path, trials=8, compare=compare)
    after = search(Broken(), tmp_path, trials=8, compare=compare)
    assert before.comparison is not None
    assert after.comparison is not None
    assert after.counted == 9
    assert api.load("s", storage=after.storage).comparison == after.comparison
    alone = search(Broken(), tmp_path, trials=8)
    assert alone.comparison == after.comparison


def test_processes_that_share_a_study_retry_every_failed_trial_once(tmp_path):
    class Slow(Broken):
        def outcome(self, run):
            time.sleep(0.05)
            return super().outcome(run)

    search(Broken(trials=range(0, 12, 2)), tmp_path, trials=6, sampler="random")
    both = Slow(), Slow()
    words = {"trials": 16, "sampler": "random"}
    threads = [threading.Thread(target=search, args=(b, tmp_path), kwargs=words) for b in both]
    for thread in threads:
        thread.start()
    wait_for_threads(*threads)
    result = search(Broken(), tmp_path, **words)
    assert result.counts["finished"] == len(result.trials) == 16
    ran = both[0].ran + both[1].ran
    assert sorted(ran) == [0, 2, 4, 6, 8, 10, 12, 13, 14, 15]


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_model_forgets_a_failure_that_another_process_has_retried(tmp_path, sampler):
    def ended(index, peak, value):
        state = "failed" if value is None else "finished"
        outcome = Outcome(trial=index, replicate=0, state=state, value=value)
        return Trial(index=index, schedule=Schedule(peak=peak), outcomes=(outcome,))

    bowl = Bowl()
    request = Settings(
        space=Space.load("cosine"), storage=str(tmp_path / "x.journal"), sampler=sampler
    )
    spec = resolve(request, bowl.setup)
    peaks = [10 ** (-3 + 0.2 * i) for i in range(13)]
    trials = [ended(i, p, (math.log10(p) + 1.5) ** 2 + 0.1) for i, p in enumerate(peaks)]
    trials[12] = ended(12, peaks[12], 1e-3)
    points = []
    for failed in (False, True):
        asker = Asker(spec, bowl.setup, first=[spec.first], window=0)
        for trial in trials:
            asker.recall(spec.space.point(trial.schedule, spec.budget))
            asker.tell(trial)
        if failed:
            asker.tell(ended(12, peaks[12], None))
            assert asker.ask() != points[0]
            asker.points.pop()
            asker.tell(trials[12])
        points.append(asker.ask())
    assert points[0] == points[1]
