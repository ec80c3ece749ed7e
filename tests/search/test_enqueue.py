"""Enqueued schedules, which are run before all others."""

import json

import pytest

import lrsearch
from lrsearch import Schedule
from lrsearch.cli import main
from lrsearch.errors import RequestError
from lrsearch.sampling.registry import SAMPLERS
from lrsearch.schedule import Budget
from lrsearch.space import Space
from tests.doubles import Bowl, asked, search

INSIDE = Schedule(peak=0.04, warmup=0.1, floor=0.05)
OUTSIDE = Schedule(peak=0.03, decay="polynomial", warmup=0.5)


def test_an_enqueued_schedule_is_trial_0_and_the_default_schedule_comes_next(tmp_path):
    result = search(Bowl(), tmp_path, trials=4, enqueue=[OUTSIDE, INSIDE])
    assert [t.schedule for t in result.trials[:2]] == [OUTSIDE, INSIDE]
    default = search(Bowl(), tmp_path / "h", trials=1).trials[0].schedule
    assert result.trials[2].schedule == default
    assert list(result.firsts) == ["enqueued", "enqueued 2", "default"]
    assert [t.index for t in result.firsts.values()] == [0, 1, 2]


@pytest.mark.parametrize(
    "sampler",
    [pytest.param(s, marks=pytest.mark.slow) if s in ("auto", "gp") else s for s in SAMPLERS],
)
@pytest.mark.parametrize("slots", [1, 4])
def test_a_resumed_search_keeps_its_enqueued_schedules(tmp_path, sampler, slots):
    queue = [OUTSIDE, INSIDE]
    whole = search(Bowl(slots=slots), tmp_path / "a", trials=30, sampler=sampler, enqueue=queue)
    for stop in (1, 17):  # in the queue, and after it
        folder = tmp_path / str(stop)
        interrupted = Bowl(slots=slots, stop_after=stop)
        with pytest.raises(KeyboardInterrupt):
            search(interrupted, folder, trials=30, sampler=sampler, enqueue=queue)
        parts = search(Bowl(slots=slots), folder, trials=30, sampler=sampler)  # without the queue
        assert asked(parts) == asked(whole)
        assert parts.enqueued == 2


def test_a_study_that_has_started_refuses_other_enqueued_schedules(tmp_path):
    search(Bowl(), tmp_path, trials=3)
    with pytest.raises(RequestError, match="began with no schedules to try first"):
        search(Bowl(), tmp_path, trials=5, enqueue=[INSIDE])
    search(Bowl(), tmp_path / "b", trials=3, enqueue=[INSIDE])
    search(Bowl(), tmp_path / "b", trials=4, enqueue=[INSIDE])  # the same command again
    with pytest.raises(RequestError, match="began with 1 schedules"):
        search(Bowl(), tmp_path / "b", trials=5, enqueue=[OUTSIDE])


def test_a_model_learns_only_from_schedules_inside_the_space(tmp_path):
    def points(schedule, **words):
        result = search(Bowl(), tmp_path / repr(words), trials=16, enqueue=[schedule], **words)
        return [t.schedule for t in result.trials[1:]]

    class Better(Bowl):
        """A bowl whose first trial is far better."""

        def value(self, run):
            return super().value(run) * (1e-3 if run.trial == 0 else 1.0)

    def better(schedule, **words):
        result = search(
            Better(), tmp_path / repr(("b", words)), trials=16, enqueue=[schedule], **words
        )
        return [t.schedule for t in result.trials[1:]]

    assert points(INSIDE, sampler="gp") != better(INSIDE, sampler="gp")
    assert points(OUTSIDE, sampler="tpe") == better(OUTSIDE, sampler="tpe")


def test_the_point_of_a_schedule_has_the_same_plan_or_is_none():
    space = Space.load("cosine").with_entries(
        {"peak": {"low": 1e-3, "high": 1, "log": True}, "momentum": 0.9}
    )
    for schedule in (INSIDE, INSIDE.replace(momentum=0.9), INSIDE.replace(rate=7.0)):
        point = space.point(schedule.with_momentum(0.9), Budget(steps=100))
        assert point == {"peak": 0.04, "warmup": 0.1, "floor": 0.05}
        assert space.schedule(point).plan(100) == schedule.with_momentum(0.9).plan(100)
    for change in ({"decay": "rex"}, {"floor": 0.5}, {"peak": 2.0}, {"momentum": 0.8}):
        assert space.point(INSIDE.replace(**change).with_momentum(0.9), Budget(steps=100)) is None
    choices = Space(name="c", entries={"decay": {"choices": ["cosine", "rex"]}, "peak": 0.04})
    assert choices.point(Schedule(peak=0.04, decay="rex"), Budget(steps=100)) == {"decay": "rex"}
    grid = Space(name="g", entries={"peak": 0.04, "cycles": {"low": 1, "high": 5, "step": 2}})
    assert grid.point(Schedule(peak=0.04, cycles=3), Budget(steps=100)) == {"cycles": 3}
    assert grid.point(Schedule(peak=0.04, cycles=2), Budget(steps=100)) is None


@pytest.mark.parametrize("wrong", [[0.1], [{"peak": 0.1}], 3, [None]])
def test_a_queue_of_other_objects_is_refused(tmp_path, wrong):
    with pytest.raises(RequestError, match=r"give Schedule objects or \.json files"):
        search(Bowl(), tmp_path, trials=3, enqueue=wrong)


def test_an_enqueued_schedule_without_a_plan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(RequestError, match="leave no decay phase"):
        search(Bowl(), tmp_path, trials=3, enqueue=[Schedule(peak=0.1, warmup=0.99)])
    assert not list(tmp_path.iterdir())


def test_files_and_another_study_are_enqueued_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "today.json").write_text(json.dumps(OUTSIDE.to_dict()))
    words = ["tune", "quadratic", "--tracking-uri", "none", "--quiet", "--sampler", "random"]
    assert main([*words, "--trials", "12"]) == 0
    best = lrsearch.load("quadratic-default").best.schedule
    more = ["--study", "next", "--enqueue", "today.json", "--from", "quadratic-default"]
    assert main([*words, *more, "--trials", "6", "--space", "linear"]) == 0
    out = capsys.readouterr().out
    assert "enqueued" in out
    assert "default" in out
    result = lrsearch.load("next")
    assert [t.schedule for t in result.trials[:2]] == [OUTSIDE, best]
    assert main([*words, *more[:2], "--from", "nowhere"]) == 2
    assert "no study 'nowhere'" in capsys.readouterr().err
