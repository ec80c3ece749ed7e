"""Every sampler is a pure function of the problem, the index and the history."""

import itertools
import math

import pytest

from lrsearch.errors import RequestError
from lrsearch.outcome import Outcome, Trial
from lrsearch.ranges import Choices, Range
from lrsearch.sampling import gaussian_process, optuna_models
from lrsearch.sampling.registry import SAMPLERS, make_sampler
from lrsearch.sampling.sampler import History, Problem
from lrsearch.space import Space

#: A range of every kind, and choices.
SPACE = Space(
    name="all",
    entries={
        "peak": Range(low=1e-3, high=1.0, log=True),
        "warmup": Range(low=0.0, high=0.3),
        "decay": Choices(("cosine", "rex", "polynomial")),
        "floor": Range(low=0.0, high=0.5, step=0.1),
        "cycles": Range(low=1, high=4),
        "hold": 0.1,
    },
)
TRIALS = 18
SAMPLER = pytest.mark.parametrize("name", SAMPLERS)


def ended(index, point):
    """Return the trial of a point: most finish, some diverge, fail or are pruned."""
    schedule = SPACE.schedule({"peak": 0.1} if point is None else point)
    state = {3: "diverged", 6: "failed", 8: "pruned"}.get(index, "finished")
    value = 0.1 + (math.log10(schedule.peak) + 1.5) ** 2 + schedule.warmup
    outcome = Outcome(
        trial=index,
        replicate=0,
        state=state,
        value=value if state == "finished" else None,
        figures={"estimate": value} if state == "pruned" else {},
    )
    return Trial(index=index, schedule=schedule, outcomes=(outcome,))


def problem(window=0, seed=7, space=SPACE, untrained=None):
    return Problem(space=space, seed=seed, positive=True, untrained=untrained, window=window)


def search(name, given, window=0, fresh=(), trials=TRIALS):
    """Return the points of a search whose first schedule is outside the space.

    Args:
        name: name of the sampler.
        given: the problem.
        window: number of latest trials that are not seen.
        fresh: trials for which a new sampler is made.
        trials: number of trials.
    """
    sampler, points, known = make_sampler(name, given), [None], {}
    for index in range(1, trials):
        known[index - 1] = ended(index - 1, points[index - 1])
        seen = {i: trial for i, trial in known.items() if i < index - window}
        if index in fresh:
            sampler = make_sampler(name, given)
        found = sampler.ask(index, History(points=tuple(points), ended=seen))
        assert found.replicate == 0
        points.append(dict(found.point))
    return points


@SAMPLER
@pytest.mark.parametrize("window", [0, 5])
def test_a_new_sampler_for_every_trial_proposes_the_same_points(name, window):
    whole = search(name, problem(window), window)
    again = search(name, problem(window), window, fresh=range(TRIALS))
    assert [repr(point) for point in again] == [repr(point) for point in whole]
    assert len({repr(point) for point in whole}) == TRIALS


@SAMPLER
def test_a_new_sampler_midway_continues_with_the_same_points(name):
    """A search may be resumed before the model is used, or later."""
    whole = search(name, problem())
    for begun in (4, 13, 16):
        assert search(name, problem(), fresh=[begun]) == whole


@SAMPLER
def test_a_sampler_proposes_a_point_for_trial_0(name):
    found = make_sampler(name, problem()).ask(0, History(points=(), ended={}))
    assert found.point.keys() == set(SPACE.free)


@SAMPLER
def test_samplers_do_not_disturb_each_other(name):
    """Two samplers that are asked in turn propose what each proposes alone."""
    alone = [search(name, problem(seed=seed), trials=14) for seed in (1, 2)]
    samplers = [make_sampler(name, problem(seed=seed)) for seed in (1, 2)]
    points, known = [[None], [None]], [{}, {}]
    for index, turn in itertools.product(range(1, 14), (0, 1)):
        known[turn][index - 1] = ended(index - 1, points[turn][index - 1])
        history = History(points=tuple(points[turn]), ended=dict(known[turn]))
        points[turn].append(dict(samplers[turn].ask(index, history).point))
    assert points == alone
    assert points[0][1:] != points[1][1:]  # another seed gives other points


@SAMPLER
def test_every_point_is_inside_the_space(name):
    for point in search(name, problem())[1:]:
        assert point.keys() == SPACE.free.keys()
        for field, value in point.items():
            assert SPACE.free[field].holds(value), field
        assert type(point["cycles"]) is int
        SPACE.schedule(point)


@SAMPLER
def test_an_independent_sampler_reads_no_history(name):
    sampler = make_sampler(name, problem())
    assert sampler.independent == (name in ("qmc", "random"))
    if sampler.independent:
        whole = search(name, problem())
        asked = {i: sampler.ask(i, History()).point for i in reversed(range(1, TRIALS))}
        assert [asked[i] for i in range(1, TRIALS)] == whole[1:]


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"qmc", "random"}))
def test_a_model_reads_the_outcomes_that_it_may_see(name):
    """If points did not depend on outcomes, the tests of equal points would show nothing."""
    blind = search(name, problem(window=TRIALS), window=TRIALS)
    seeing = search(name, problem())
    differ = [i for i, (a, b) in enumerate(zip(blind, seeing, strict=True)) if a != b]
    startup = optuna_models.STARTUP if name == "tpe" else gaussian_process.STARTUP
    assert startup < min(differ) < TRIALS


@SAMPLER
def test_a_space_without_a_free_field_has_one_point(name):
    space = Space(name="one", entries={"peak": 0.1})
    sampler = make_sampler(name, problem(space=space))
    assert sampler.independent
    assert [sampler.ask(i, History()).point for i in (1, 2, 3)] == [{}] * 3


def test_an_unknown_name_is_refused_with_the_nearest_one():
    known = "auto, gp, qmc, random, tpe"
    for name, near in (("tpee", "tpe"), ("randm", "random"), ("qmcc", "qmc")):
        with pytest.raises(RequestError, match=f"'{name}'; did you mean '{near}'. Known: {known}"):
            make_sampler(name, problem())
    with pytest.raises(RequestError, match=f"there is no sampler 'cma'; known: {known}"):
        make_sampler("cma", problem())
