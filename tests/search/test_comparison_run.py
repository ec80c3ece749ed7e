"""Comparisons through an objective's stream: cost estimate, storage, continuation, answer."""

import dataclasses
import json
import math
import signal
import subprocess
import sys

import numpy as np
import pytest

import lrsearch
from lrsearch.baselines import BASELINES
from lrsearch.cli import main
from lrsearch.comparison_tables import comparison_remarks, comparison_rows, secondary_rows
from lrsearch.errors import RequestError, RunStopped, SearchFailed
from lrsearch.search.comparison_spec import ComparisonSpec
from lrsearch.search.runner import run_search
from lrsearch.seeding import stream
from lrsearch.space import Space
from lrsearch.stats import VERDICTS
from lrsearch.study.settings import Settings
from lrsearch.study.spec import resolve
from lrsearch.tracking.tracker import NoTracker
from tests.doubles import Bowl, Expensive, Memory, Watch, wait_until


class Noisy(Bowl):
    """Independent noise for every schedule and seed; early decays are better than late ones."""

    def __init__(self, *, gain=0.3, noise=0.05, **words):
        super().__init__(**words)
        self.gain, self.noise = gain, noise

    def value(self, run):
        own = stream(run.seed, "own", *(int(1e6 * lr) for lr in run.plan.lr[[3, 10, -1]])).normal()
        return self.worth(run.plan) + self.noise * own

    def truth(self, schedule):
        return self.worth(schedule.plan(self.setup.steps))

    def worth(self, plan):
        decays = plan.lr[10] < 0.8 * plan.lr.max()
        return 1.0 + (math.log10(float(plan.lr.max())) + 1.5) ** 2 - self.gain * decays


def compare(objective, folder, *, trials=30, watch=None, tracker=None, settings=None, **asked):
    request = Settings(
        storage=str(folder / "x.journal"),
        study="s",
        trials=trials,
        sampler="random",
        **{"space": Space.load("cosine"), **(settings or {})},
    )
    found = resolve(request, objective.setup)
    return run_search(
        found, objective, tracker or NoTracker(), watch or Watch(), ComparisonSpec(**asked)
    )


@pytest.mark.parametrize("slots", [1, 4])
def test_a_search_ends_with_its_comparison_after_a_cost_estimate(tmp_path, slots):
    objective, watch = Noisy(slots=slots), Watch()
    result = compare(objective, tmp_path, watch=watch, seeds=10)
    found = result.comparison
    ((estimate, total, done),) = watch.estimates
    assert f"at most {total} runs" in estimate
    assert done == 0
    assert len(objective.seeds) - 30 == found.runs <= total  # verdicts are often clear early
    assert watch.progress[-1] == found.runs
    assert found.best.value == pytest.approx(0.7, abs=0.05)
    # The standard error of a difference of two means over ten seeds.
    far = []
    for name, versus in found.versus.items():
        error = 0.05 * math.sqrt(2 / versus.seeds)
        rival = found.contenders[name].schedule
        truth = objective.truth(found.best.schedule) - objective.truth(rival)
        assert versus.difference == pytest.approx(truth, abs=4 * error)
        if abs(truth) > 5 * error:
            far.append(name)
            assert versus.verdict in ("better" if truth < 0 else "worse", "not tested")
            assert versus.p < 0.05
    assert {"constant", "wsd", "onecycle"} <= set(far)  # they decay late
    assert {len(each.values) for each in found.contenders.values()} <= {4, 5, 8, 10}
    used = {seed for _, _, seed in objective.seeds[:30]}
    assert not used & {seed for _, _, seed in objective.seeds[30:]}, (
        "the comparison used seeds of the search"
    )


def test_slots_do_not_change_a_comparison_and_repeating_it_runs_nothing(tmp_path):
    one = compare(Noisy(), tmp_path / "a").comparison
    assert one == compare(Noisy(slots=4), tmp_path / "b").comparison
    again = Noisy()
    assert compare(again, tmp_path / "a").comparison == one
    assert again.seeds == []
    assert lrsearch.load("s", storage=tmp_path / "a" / "x.journal").comparison == one


@pytest.mark.parametrize(
    "stop", [50, 130, *(pytest.param(s, marks=pytest.mark.slow) for s in (31, 40, 90))]
)
def test_an_interrupted_comparison_continues_and_ends_the_same(tmp_path, stop):
    whole = compare(Noisy(), tmp_path / "a").comparison
    with pytest.raises(KeyboardInterrupt):
        compare(Noisy(stop_after=stop), tmp_path / "b")
    rest = Noisy()
    assert compare(rest, tmp_path / "b").comparison == whole
    assert len(rest.seeds) < whole.runs - (stop - 30) + 10


def test_a_comparison_with_more_seeds_runs_only_the_new_ones(tmp_path):
    few = compare(Noisy(), tmp_path, seeds=6).comparison
    objective = Noisy()
    more = compare(objective, tmp_path, seeds=12).comparison
    assert len(objective.seeds) == more.runs - few.runs
    assert (more.looks.seeds, more.looks.extended, more.looks.spent) == (6, 1, 0)
    for name, each in more.contenders.items():
        earlier = few.contenders[name]
        assert each.schedule == earlier.schedule
        assert each.values[: len(earlier.values)] == earlier.values
    assert compare(Noisy(), tmp_path, seeds=12).comparison == more
    fewer = compare(Noisy(), tmp_path, seeds=6).comparison  # the seeds stay
    assert dataclasses.replace(fewer, asked=more.asked) == more


def test_alternatives_that_are_the_same_schedule_are_run_once(tmp_path):
    default = lrsearch.Schedule(peak=10**-1.5, warmup=0.05)
    objective = Noisy()
    words = {"trials": 8, "settings": {"current": default}, "seeds": 5}
    found = compare(objective, tmp_path, **words).comparison
    schedules = [each.schedule for each in found.contenders.values()]
    assert len(set(schedules)) < len(schedules), "no schedule is twice, so the test shows nothing"
    assert len(objective.seeds) - 8 == found.runs


def test_an_extension_doubles_the_seeds(tmp_path, caplog):
    compare(Noisy(), tmp_path, seeds=6)
    objective = Noisy()
    assert compare(objective, tmp_path, seeds=11).comparison.looks.most == 6
    assert "12 seeds" not in caplog.text
    assert "an extension doubles them: 6 seeds instead of 11" in caplog.text
    assert objective.seeds == []


def test_a_comparison_of_other_schedules_has_what_is_left_of_the_probability_of_error(tmp_path):
    first = compare(Noisy(), tmp_path, seeds=6).comparison
    assert first.looks.spent == 0
    other = compare(Noisy(), tmp_path, seeds=6, against=["cosine"]).comparison
    assert other.looks.spent == 1
    assert other.versus["cosine"].level == pytest.approx(0.005)
    third = compare(Noisy(), tmp_path, seeds=6, against=["wsd"]).comparison
    assert third.versus["wsd"].level == pytest.approx(0.0025)


def test_a_study_with_more_trials_is_compared_again(tmp_path):
    compare(Noisy(), tmp_path, trials=20)
    objective = Noisy()
    result = compare(objective, tmp_path, trials=40, frugal=True)
    assert result.comparison is not None
    assert len(result.trials) == 40
    assert len(objective.seeds) > 20


class Costly(Expensive, Noisy):
    """An objective that reports three seconds per run and has noise."""


@pytest.mark.slow
def test_an_expensive_comparison_shrinks_to_the_number_of_trials_or_is_declined(tmp_path):
    watch = Watch()
    assert compare(Costly(), tmp_path / "a", trials=5, watch=watch, frugal=True).comparison is None
    (offers,) = watch.offers
    assert [offer.asked.runs for offer in offers] == [6, 12, 60, None]
    assert [offer.plan.runs for offer in offers] == sorted(offer.plan.runs for offer in offers)
    assert offers[-1].seconds == 3.0 * offers[-1].plan.runs > 600
    found = compare(Costly(), tmp_path / "b", trials=24, frugal=True).comparison
    assert (found.looks.seeds, list(found.versus)) == (12, ["default"])
    for trials, tuned in ((40, 2), (70, 3), (300, 6)):
        objective, watch = Costly(), Watch()
        folder = tmp_path / str(trials)
        found = compare(objective, folder, trials=trials, watch=watch, frugal=True).comparison
        assert len(objective.seeds) - trials == found.runs <= trials
        names = {*found.versus, *found.unreported} - {"default"}
        assert len(names) == tuned
        offered = [offer.plan.looks.detectable() for each in watch.offers for offer in each]
        assert all(shown < found.looks.detectable() for shown in offered)
    whole = compare(Costly(), tmp_path / "a", trials=90).comparison  # without the limit
    assert {*BASELINES, "default"} <= set(whole.versus)


def test_the_current_schedule_and_named_ones_compete(tmp_path):
    mine = lrsearch.Schedule(peak=0.03, decay="polynomial", power=3.0)
    (tmp_path / "mine.json").write_text(json.dumps(mine.to_dict()))
    found = compare(Noisy(), tmp_path, against=["cosine", str(tmp_path / "mine.json"), mine])
    assert set(found.comparison.versus) == {"cosine", "mine", "schedule 3"}
    assert found.comparison.contenders["mine"].schedule.power == 3.0
    assert 0.03 in found.comparison.contenders["mine"].peaks
    result = lrsearch.tune(
        "quadratic",
        trials=5,
        current=mine,
        enqueue=[mine.replace(power=2.0)],
        compare=True,
        tracking_uri="none",
        storage=tmp_path / "q.journal",
        steps=60,
    )
    found = result.comparison
    assert next(iter(found.versus)) == "current"
    assert set(found.versus) == {*BASELINES, "current", "current, tuned", "default"}
    own, tuned = found.contenders["current"], found.contenders["current, tuned"]
    assert (own.schedule, own.peaks) == (mine, (0.03,))
    assert tuned.schedule.replace(peak=0.03) == mine
    assert tuned.value <= own.value
    assert list(result.firsts) == ["current", "enqueued", "default"]
    assert result.named("current") == mine
    assert found.contenders["default"].schedule == result.firsts["default"].schedule


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"against": ["cosin"]}, "did you mean 'cosine'"),
        ({"against": ["cosine", "cosine"]}, None),
        ({"against": [3]}, "there is no baseline 3"),
        ({"against": ["nowhere.json"]}, "cannot read nowhere.json"),
        ({"seeds": 2}, r"`seeds=` is 2; give an integer in \[3, 1000\]"),
        ({"top": 0}, r"`top=` is 0"),
    ],
)
def test_wrong_settings_are_refused(words, message):
    if message is None:
        message = "names a baseline twice"
    with pytest.raises(RequestError, match=message):
        ComparisonSpec(**words)


def test_a_failing_run_stops_a_comparison_with_its_traceback(tmp_path):
    class Breaks(Noisy):
        def outcome(self, run):
            if self.yielded > 50:
                return run.end("failed", reason="ValueError: no", details="Traceback …\n")
            return super().outcome(run)

    with pytest.raises(SearchFailed, match=r"run of Schedule.*ValueError: no") as error:
        compare(Breaks(), tmp_path)
    assert error.value.details == "Traceback …\n"
    whole = compare(Noisy(), tmp_path / "whole").comparison
    assert compare(Noisy(), tmp_path).comparison == whole


def test_the_tracker_gets_the_comparison(tmp_path):
    memory = Memory()
    found = compare(Noisy(), tmp_path, tracker=memory).comparison
    ((result, state),) = memory.ends
    assert state == "finished"
    assert result.comparison == found
    assert found.versus


def test_a_checkpoint_is_used_only_by_its_own_schedule(tmp_path):
    """A repeated run finds its folder again; another schedule never finds it."""

    class Keeps(Noisy):
        def value(self, run):
            kept = run.folder / "value"
            if not kept.exists():
                kept.write_text(repr(float(super().value(run))))
            return float(kept.read_text())

    compare(Keeps(), tmp_path / "a", trials=12)
    grown = compare(Keeps(), tmp_path / "a", trials=24).comparison
    whole = compare(Keeps(), tmp_path / "b", trials=24).comparison
    shared = [n for n, c in grown.contenders.items() if c.schedule == whole.contenders[n].schedule]
    assert len(shared) >= 3
    for name in shared:
        pairs = zip(grown.contenders[name].values, whole.contenders[name].values, strict=False)
        assert all(a == b for a, b in pairs)


class Odd(Noisy):
    """Late decays (`late`) or early ones have no finite value in its comparison."""

    def __init__(self, *, late, **words):
        super().__init__(**words)
        self.late = late

    def outcome(self, run):
        compares = run.folder.name.startswith(("report", "select"))
        late = run.plan.lr[10] >= 0.8 * run.plan.lr.max()
        if compares and late == self.late:
            return run.end("finished", math.nan)
        return super().outcome(run)


def test_total_divergence_is_reported(tmp_path):
    words = {"against": ["constant", "wsd"], "trials": 12}
    found = compare(Odd(late=True), tmp_path / "a", **words).comparison
    peaks = [found.contenders[name].schedule.peak for name in ("searched", "constant")]
    chosen = found.recommended
    assert chosen.sentence == (
        f"Use the searched schedule with peak {peaks[0]:.3g}: every seed diverged with tuned "
        f"constant with peak {peaks[1]:.3g}."
    )
    assert (chosen.name, chosen.evidence) == ("searched", "better")
    assert {c.verdict for c in found.versus.values()} == {"better"}
    assert "wsd: every seed diverged." in comparison_remarks(found)
    found = compare(Odd(late=False), tmp_path / "b", **words).comparison
    chosen = found.recommended
    assert chosen.sentence.endswith("every seed diverged with the searched schedule.")
    assert (chosen.name, chosen.evidence) == (found.best_baseline, "worse")
    assert {c.verdict for c in found.versus.values()} == {"worse"}
    few = compare(Odd(late=True), tmp_path / "c", seeds=5, trials=12).comparison
    assert any(
        "5 seeds are too few to decide; use at least 7" in line for line in comparison_remarks(few)
    )


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-200, 1e160, 1e308, -3.0])
@pytest.mark.parametrize("varies", [0, 7])
def test_extreme_values_are_compared_and_written_as_json(tmp_path, value, varies):
    class Flat(Bowl):
        def value(self, run):
            return value * (1 + (run.seed % varies) / 10 if varies else 1)

    result = compare(Flat(limit=math.inf), tmp_path, trials=25, seeds=6)
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["recommended"]["sentence"]
    # Header, searched schedule, every baseline and the default schedule.
    assert len(comparison_rows(result.comparison)) == 2 + 7
    assert len(secondary_rows(result.comparison)) == 2 + 7


def test_the_pruner_of_a_study_applies_to_its_comparison(tmp_path):
    class Spikes(Noisy):
        def outcome(self, run):
            for t in range(len(run.plan)):
                try:
                    run.report(t, 5.0 if t else 1.0)
                except RunStopped as stop:
                    return run.end(stop.state, reason=str(stop))
            return run.end("finished", self.value(run))

    request = Settings(
        space=Space.load("cosine"),
        storage=str(tmp_path / "x.journal"),
        study="s",
        trials=8,
        pruner="none",
        sampler="random",
    )
    search = resolve(request, Spikes().setup)
    run_search(search, Spikes(), NoTracker(), Watch())
    with pytest.raises(RequestError, match="pruner was none, is now divergence"):
        compare(Spikes(), tmp_path, trials=8)
    found = run_search(search, Spikes(), NoTracker(), Watch(), ComparisonSpec(seeds=5)).comparison
    assert found.best.diverged == 0


def test_baselines_have_the_momentum_of_the_searched_schedule(tmp_path):
    result = lrsearch.tune(
        "quadratic",
        space="cosine",
        settings={"momentum": 0.5},
        trials=4,
        steps=60,
        compare=True,
        tracking_uri="none",
        storage=tmp_path / "x.journal",
    )
    for rival in result.comparison.baselines:
        assert rival.schedule.plan(60).momentum.max() == pytest.approx(0.5, rel=1e-2)


def test_a_baseline_may_be_named_like_a_trial(tmp_path):
    (tmp_path / "trial 0.json").write_text('{"peak": 0.1}')
    found = compare(Noisy(), tmp_path, against=[str(tmp_path / "trial 0.json")]).comparison
    assert list(found.versus) == ["trial 0.json"]


def test_the_searched_schedule_may_be_a_baseline(tmp_path):
    """A trial of a baseline's shape is this baseline, and no other contender."""
    result = compare(Noisy(), tmp_path, trials=12)
    best = result.best.schedule
    found = compare(Noisy(), tmp_path, trials=12, against=[best], top=1).comparison
    assert found.best.name != f"trial {result.best.index}"
    twin = found.baselines[0]
    assert twin.schedule.replace(peak=best.peak) == best
    assert best.peak in twin.peaks  # the trial counts in its tuning


def test_a_search_within_one_shape_competes_with_the_other_baselines(tmp_path):
    shape = {"warmup": 0.05, "hold": 0.0, "decay": "cosine", "floor": 0.0}
    space = Space(name="cosine only", entries={"peak": {"low": 1e-3, "high": 1.0, "log": True}})
    words = {"trials": 12, "settings": {"space": space.with_entries(shape)}, "seeds": 6}
    found = compare(Noisy(), tmp_path, **words).comparison
    assert found.folded == ("cosine",)
    assert "cosine" not in found.versus
    assert {"linear", "wsd"} <= set(found.versus)
    assert any("has the shape of cosine" in line for line in comparison_remarks(found))
    assert len(found.best.peaks) >= 12  # all trials of the search, and the walk


def test_the_result_of_a_search_is_printed_if_its_comparison_fails(here, capsys):
    (here / "fails.py").write_text(FAILS)
    assert main(["tune", "fails.py", "--trials", "4", "--tracking-uri", "none", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["trials"]["finished"] == 4
    assert "comparison run of Schedule" in captured.err
    assert "ValueError: out of disk" in captured.err


# --- On the command line ----------------------------------------------------------------------

OWN = """
import time
import lrsearch

@lrsearch.objective(unit="points", peak=(1e-3, 1.0), steps=20)
def bowl(run):
    x = 1.0 + (run.seed % 97) / 97
    for t, (lr, _) in enumerate(run.plan):
        x -= lr * x
        run.report(t, x * x)
    return x * x

@lrsearch.objective(peak=(1e-3, 1.0), steps=20)
def slow(run):
    for t in range(20):
        try:
            time.sleep(0.05)
        except Exception:
            pass
        run.report(t, 1.0)
    return 1.0
"""


FAILS = """
import lrsearch

@lrsearch.objective(peak=(1e-3, 1.0), steps=20)
def fails(run):
    if "select" in run.folder.name:
        raise ValueError("out of disk")
    return float(run.plan.lr.max())
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("own", None)


def test_user_code_is_loaded_only_if_the_command_names_it(here, capsys):
    words = ["--tracking-uri", "none", "--quiet"]
    tune = ["tune", "own.py:bowl", "--trials", "12", "--sampler", "random", "--no-compare", *words]
    assert main(tune) == 0
    assert "It was not compared" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", "bowl-default", *words]) == 2
    assert "--objective FILE.py:NAME" in capsys.readouterr().err
    assert main(["compare", "bowl-default", "--objective", "quadratic", *words]) == 2
    assert "different settings" in capsys.readouterr().err
    asked = ["compare", "bowl-default", "--objective", "own.py:bowl", "--seeds", "6", *words]
    assert main([*asked, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "6 at most, fewer if the verdict is clear early" in planned
    assert "constant, linear, cosine, wsd, step, onecycle" in planned
    assert lrsearch.load("bowl-default").comparison is None
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "searched - it" in out
    assert "6 fresh seeds" in out
    assert main([*asked, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    record = whole["comparison"]
    assert set(record) == {"seeds", "best_baseline", "noise", "contenders"}
    assert record["seeds"] == 6
    contenders = record["contenders"]
    assert set(contenders) == {"searched", *BASELINES, "default"}
    for name, rival in contenders.items():
        assert {"schedule", "peak", "value", "interval", "diverged"} <= set(rival)
        assert rival["schedule"]["peak"] == rival["peak"]
        if name == "searched":
            assert (rival["difference"], rival["verdict"]) == (None, None)
        else:
            if rival["seeds"] == contenders["searched"]["seeds"]:  # the same seeds
                apart = contenders["searched"]["value"] - rival["value"]
                assert rival["difference"] == pytest.approx(apart)
            share = 100 * rival["difference"] / abs(rival["value"])
            assert rival["percent"] == pytest.approx(share)
            assert rival["verdict"] in VERDICTS
    chosen = whole["recommended"]
    assert chosen["value"] == contenders[chosen["name"]]["value"]
    for name in (None, "searched", "onecycle", "trial:3"):
        words = ["export", "bowl-default", "--to", "json"]
        assert main([*words, *(["--schedule", name] if name else [])]) == 0
        exported = json.loads(capsys.readouterr().out)
        if name != "trial:3":
            assert exported == contenders[name or chosen["name"]]["schedule"]
        else:
            assert exported == lrsearch.load("bowl-default").trial(3).schedule.to_dict()
    assert main(["export", "bowl-default", "--to", "json", "--schedule", "onecyle"]) == 2
    assert "did you mean 'onecycle'" in capsys.readouterr().err


def test_compare_accepts_a_result_of_tune(here):
    @lrsearch.objective(peak=(1e-3, 1.0), steps=20)
    def mine(run):
        return 1.0 + float(np.abs(np.log(run.plan.lr.max() / 0.1))) + run.seed % 7 / 100

    result = lrsearch.tune(mine, trials=12, sampler="random", tracking_uri="none", compare=False)
    assert result.comparison is None
    found = lrsearch.compare(result, top=3, seeds=5)
    assert found.candidates == 3
    assert found.best.schedule.peak == pytest.approx(0.1, rel=0.6)
    assert lrsearch.load("mine-default").comparison == found


def test_the_answer_is_in_the_text_the_page_and_the_picture(here, capsys):
    words = ["--tracking-uri", "none", "--quiet", "--sampler", "random"]
    assert main(["tune", "quadratic", "--trials", "25", *words]) == 0
    out = capsys.readouterr().out
    assert "lrsearch export quadratic-default --to torch" in out
    result = lrsearch.load("quadratic-default")
    sentence = result.recommended.sentence
    assert " ".join(sentence.split()) in " ".join(out.split())
    assert main(["show", "quadratic-default", "--html", "r.html", "--plot", "r.png"]) == 0
    page = (here / "r.html").read_text()
    assert sentence in page
    for word in ("wsd", "recommended", "data:image/png;base64,", "lrsearch export"):
        assert word in page
    for outside in ("http", "<script", 'src="/', "url("):
        assert outside not in page.replace("data:image/png", "")
    assert (here / "r.png").read_bytes().startswith(b"\x89PNG")


def test_hostile_names_are_escaped_in_a_page(here):
    @lrsearch.objective(name="x", unit="<script>alert(1)</script>", peak=(1e-3, 1.0), steps=20)
    def hostile(run):
        return float(run.plan.lr.max()) + run.seed % 7 / 1000

    lrsearch.tune(hostile, trials=5, tracking_uri="none", compare=True)
    assert main(["show", "x-default", "--html", "r.html"]) == 0
    page = (here / "r.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_a_signal_ends_training_code_that_catches_all_exceptions(here, number, code):
    command = [sys.executable, "-m", "lrsearch", "tune", "own.py:slow", "--trials", "6"]
    command += ["--tracking-uri", "none", "--quiet", "--no-compare", "--sampler", "random"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    journal = here / "lrsearch-studies" / "slow-default.journal"
    try:
        records = '"op_code"'
        wait_until(lambda: journal.exists() and journal.read_text().count(records) >= 6, 60)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, error
    assert "continue with the same command" in error
    result = lrsearch.load("slow-default")
    assert result.counts["failed"] == 0
    assert len(result.trials) < 6


@pytest.mark.slow
def test_twenty_whole_searches_report_no_win_if_all_schedules_are_equal(tmp_path):
    """All schedules are equal up to noise.

    At a rate of 2.5 % per study (measured on 1000 studies), more than three wins in twenty studies
    would have a probability of 1/500.
    """

    class Null(Noisy):
        def worth(self, plan):
            return 1.0

    wins, values = 0, []
    for study in range(20):
        request = Settings(
            space=Space.load("cosine"),
            storage=str(tmp_path / f"{study}.journal"),
            study=f"null-{study}",
            trials=100,
            seed=study,
            sampler="random",
        )
        objective = Null(slots=4)
        found = run_search(
            resolve(request, objective.setup), objective, NoTracker(), Watch(), ComparisonSpec()
        )
        wins += "better" in {c.verdict for c in found.comparison.versus.values()}
        values.append((found.best.value, found.comparison.best.value))
        assert found.best.value < 1.0 - 1.5 * 0.05  # the best of a hundred, partly luck
    assert wins <= 3
    assert np.mean([v for _, v in values]) == pytest.approx(1.0, abs=4 * 0.05 / math.sqrt(200))
