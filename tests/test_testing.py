"""The checks for users' objectives: lrsearch's objectives pass, and each check finds its fault."""

from pathlib import Path

import pytest

from lrsearch import Schedule, objective
from lrsearch.contract import Setup
from lrsearch.ranges import Range
from lrsearch.testing import ObjectiveChecks
from tests.torch_doubles import Line


@objective(peak=(1e-3, 1.0), usual_peak=0.1, positive=True, untrained=1.0)
def bowl(run):
    """Minimise x²/2 by gradient descent from a start that depends on the seed."""
    x = 1 + (run.seed % 7) / 10
    for t, (lr, _) in enumerate(run.plan):
        run.report(t, x * x / 2)
        x -= lr * x
    return x * x / 2


def plain(run):
    return bowl(run)


class TestFunction(ObjectiveChecks):
    objective = bowl


class TestPlainFunction(ObjectiveChecks):
    objective = plain
    schedule = Schedule(peak=0.1)


class TestProxy(ObjectiveChecks):
    objective = "quadratic"
    options = {"modes": 8}


class TestProxyWithMomentum(ObjectiveChecks):
    objective = "quadratic-additive"
    options = {"modes": 8, "method": "nesterov", "ema": 0.5}
    schedule = Schedule(peak=0.1, momentum=0.5)


class TestDigits(ObjectiveChecks):
    objective = "digits"
    options = {"hidden": 8}


class TestDigitsCnn(ObjectiveChecks):
    objective = "digits-cnn"
    options = {"channels": 2}


class TestTwoMoons(ObjectiveChecks):
    objective = "two-moons"


class TestLinearRegression(ObjectiveChecks):
    objective = "linear-regression"
    options = {"modes": 16}


class TestTaskClass(ObjectiveChecks):
    objective = Line


def check(method, function, **words):
    """Run one check on the objective of a function."""
    words = {"peak": (1e-3, 1.0), "usual_peak": 0.1, "positive": True, **words}

    class Checks(ObjectiveChecks):
        schedule = Schedule(peak=0.1)

    checks = Checks()
    checks._tmp, checks._runs = Path("unused"), 0
    getattr(checks, method)(objective(**words)(function))


def drifts(run, state=[0.0]):  # noqa: B006  # the fault that the check must find
    state[0] += 1
    return bowl(run) + state[0]


def ignores_its_seed(run):
    run.seed = 0
    return bowl(run)


def stops_early(run):
    for t, _ in enumerate(run.plan):
        run.report(t, 1.0)
        if t == 10:
            break
    return 1.0


def reports_too_many_steps(run):
    list(run.plan)
    run.report(len(run.plan), 1.0)
    return 1.0 + run.seed


def ignores_the_rate(run):
    return 1.0 + run.seed


def reports_twice(run):
    for t in (0, 1, 1):
        run.report(t, 1.0)
    return 1.0


def overflows(run):
    if run.plan.lr[0] > 10:
        raise OverflowError("math range error")
    return bowl(run)


def stays_broken(run, state=[False]):  # noqa: B006  # the fault that the check must find
    state[0] = state[0] or run.plan.lr[0] > 10
    if state[0]:
        raise ValueError("weights are NaN")
    return bowl(run)


def swallows(run):
    for t in range(len(run.plan)):
        try:
            run.report(t, 1.0)
        except Exception:  # noqa: BLE001  # the fault that the check must find
            continue
    return 1.0


FAULTS = [
    ("test_the_same_seed_gives_the_same_value", drifts, "one seed gave different values"),
    ("test_another_seed_gives_another_value", ignores_its_seed, "use run.seed"),
    ("test_it_follows_the_whole_plan_and_no_more", stops_early, "steps were read"),
    (
        "test_it_follows_the_whole_plan_and_no_more",
        reports_too_many_steps,
        "a step outside the plan is ignored; its steps are 0 to",
    ),
    ("test_the_plan_matters", ignores_the_rate, "half the learning rate"),
    ("test_reports_are_finite_and_in_order", reports_twice, "at most once, in order"),
    ("test_it_survives_a_plan_that_diverges", overflows, "OverflowError"),
    ("test_it_survives_a_plan_that_diverges", stays_broken, "ValueError|did not finish"),
    ("test_it_obeys_pruning", swallows, "more losses were reported"),
]


@pytest.mark.parametrize(("method", "function", "message"), FAULTS)
def test_every_check_finds_its_fault(method, function, message):
    with pytest.raises(AssertionError, match=message):
        check(method, function)


def test_the_value_of_an_exact_objective_must_not_depend_on_the_seed():
    with pytest.raises(AssertionError, match="depends on the seed"):
        check("test_another_seed_gives_another_value", bowl.function, exact=True)


def test_an_objective_that_loses_a_run_fails_the_checks():
    class Loses:
        setup = Setup(
            name="loses", unit="", steps=5, entries={"peak": Range(low=0.1, high=1, log=True)}
        )

        def evaluate(self, runs):
            runs.take(1)
            return iter(())

    checks = ObjectiveChecks()
    checks._tmp, checks._runs = Path("unused"), 0
    with pytest.raises(AssertionError, match="one run gave 0 outcomes"):
        checks.test_the_plan_matters(Loses())
