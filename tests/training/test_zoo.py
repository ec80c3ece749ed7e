"""A population gives the results of runs trained alone, or runs are trained alone with a reason.

The models are those of `tests.training.zoo`. Rates, seeds and batches differ from those of the
check that decides between the two ways.
"""

import itertools
import warnings

import numpy as np
import pytest

from lrsearch import Plan, TorchTask
from lrsearch.run import Run
from lrsearch.tasks.task import OPTIMIZERS
from lrsearch.training.batchable import check_batchable
from lrsearch.training.check_data import to_double
from lrsearch.training.plain import train_alone
from lrsearch.training.population import Population
from tests.doubles import Given
from tests.torch_doubles import CPU
from tests.training.zoo import TARGETS, TOKEN_MODELS, TOKENS, VECTOR_MODELS, VECTORS

MODELS = {**VECTOR_MODELS, **TOKEN_MODELS}
#: clip, weight decay, precision.
VARIANTS = list(itertools.product((None, 0.1), (0.0, 0.05), ("float32", "bfloat16")))
ALL = list(itertools.product(MODELS, OPTIMIZERS, VARIANTS))
#: Of an orthogonal array of strength 2: with the models and optimizers, all pairs of values occur.
QUARTER = [VARIANTS[i] for i in (0, 3, 5, 6)]
PAIRS = [
    (model, optimizer, QUARTER[(i + j) % 4])
    for i, model in enumerate(MODELS)
    for j, optimizer in enumerate(OPTIMIZERS)
]
#: Models that no population can train, and why.
REASONS = {
    "frozen random": "depends on the seed",
    "complex": "is complex",
    "batch norm": "running_mean in place",
    "counting buffer": "tensor count in place",
    "control flow": "data-dependent",
    "drawn dropout": "random",
    "straight through": "vmap",
    "reentrant checkpoint": "",
    "padding": "differ",
    "spectral norm": "depends on the seed",
    "largest norm": "max_norm",
}


def task_of(name, optimizer, variant):
    clip, decay, precision = variant
    build, inputs = MODELS[name], TOKENS if name in TOKEN_MODELS else VECTORS
    return TorchTask(
        name="zoo",
        model=lambda generator: build(),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square()[:, 0],
        train=(inputs, TARGETS.float()),
        validation=(inputs, TARGETS.float()),
        peak=(1e-3, 1e-1),
        optimizer=optimizer,
        clip=clip,
        weight_decay=decay,
        precision=precision,
    )


def outcomes(task, paddable=None):
    """Outcomes by trial: alone, or as a population if `paddable` is known."""
    runs = []
    for trial, batches in enumerate(([8] * 12, [8] * 12, [5, 5, 6, 7, 8, 9, 11, 12])):
        rates = 0.02 * (1 + trial) * np.cos(np.arange(len(batches)) / len(batches))
        momenta = np.full(len(batches), 0.9 - 0.2 * trial)
        plan = Plan(rates, np.array(batches), momenta)
        runs.append(Run(trial=trial, replicate=0, seed=5 + trial, plan=plan, stops=False))
    if paddable is None:
        return {o.trial: o for o in train_alone(task, Given(*runs), CPU)}
    population = Population(task, 2, CPU, paddable=paddable)
    return {o.trial: o for o in population.train(Given(*runs, slots=2))}


def check(name, optimizer, variant):
    """Compare both ways of training; return why a population is not used, or nothing."""
    clip, decay, precision = variant
    task = task_of(name, optimizer, variant)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about missing rules of `vmap`
        if name == "sparse" and (optimizer in ("adam", "adamw") or clip or decay):
            with pytest.raises((RuntimeError, NotImplementedError), match=r"(?i)sparse"):
                check_batchable(task)
            return "torch cannot train sparse gradients so"
        found = check_batchable(task)
        alone = outcomes(task)
        assert {o.state for o in alone.values()} == {"finished"}
        assert {t: o.value for t, o in alone.items()} == {
            t: o.value for t, o in outcomes(task).items()
        }
        if found.reason:
            assert "\n" not in found.reason
            assert len(found.reason) < 200
            return found.reason
        assert name not in REASONS
        exact = to_double(task) if precision == "float32" and name != "double part" else task
        alone, together = outcomes(exact), outcomes(exact, found.paddable)
    tolerance = 1e-7 if exact is not task else 1e-3 if precision == "float32" else 0.1
    for trial, outcome in alone.items():
        losses = [o.traces["loss"].values for o in (together[trial], outcome)]
        np.testing.assert_allclose(*losses, rtol=tolerance, atol=tolerance)
        assert together[trial].value == pytest.approx(outcome.value, rel=tolerance, abs=tolerance)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "optimizer", "variant"), PAIRS)
def test_a_population_equals_runs_alone_or_is_not_used(name, optimizer, variant):
    check(name, optimizer, variant)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "optimizer", "variant"), ALL)
def test_a_population_equals_runs_alone_or_is_not_used_in_every_combination(
    name, optimizer, variant
):
    check(name, optimizer, variant)


@pytest.mark.parametrize("name", REASONS)
def test_models_that_no_population_can_train_are_named_with_the_reason(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert REASONS[name] in check_batchable(task_of(name, "sgd", VARIANTS[0])).reason


def test_the_pairs_cover_all_pairs_of_values():
    def pairs(combinations):
        flat = [(m, o, *variant) for m, o, variant in combinations]
        return {
            (i, j, row[i], row[j]) for row in flat for i, j in itertools.combinations(range(5), 2)
        }

    assert len(MODELS) >= 40
    assert pairs(PAIRS) == pairs(ALL)
