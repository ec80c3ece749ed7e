"""Tests of the convex bound as an objective, with the reference values of its source."""

import numpy as np
import pytest

import lrsearch
from lrsearch import Schedule
from lrsearch.objectives.builtin import make
from tests.doubles import answer

FIGURES = {"polynomial": 0.100630, "cosine": 0.103386, "constant": 0.137545}


@pytest.mark.parametrize("decay", FIGURES)
def test_the_bound_at_the_best_rate_has_its_reference_value(decay):
    objective = make("convex-bound")
    (outcome,) = answer(objective, Schedule(peak=0.02, decay=decay))
    assert outcome.figures["bound_at_best_rate"] == pytest.approx(FIGURES[decay], abs=5e-7)
    best = Schedule(peak=0.02 * outcome.figures["best_rate_factor"], decay=decay)
    (tuned,) = answer(objective, best)
    assert tuned.value == pytest.approx(FIGURES[decay], abs=5e-7)
    assert tuned.figures["best_rate_factor"] == pytest.approx(1.0, rel=1e-12)
    assert tuned.value < outcome.value


def test_distance_and_gradient_scale_the_bound():
    """Check Ω(D, G; η) = D·G·Ω(1, 1; ηG/D)."""
    schedule, scaled = Schedule(peak=0.02), Schedule(peak=0.02 * 3.0 / 0.5)
    (one,) = answer(make("convex-bound"), schedule)
    (other,) = answer(make("convex-bound", {"distance": 3.0, "gradient": 0.5}), scaled)
    assert other.value == pytest.approx(1.5 * one.value, rel=1e-12)


def test_a_search_finds_the_best_bound_and_ranks_baselines_by_it(tmp_path):
    words = {"tracking_uri": "none", "trials": 60, "sampler": "gp"}
    result = lrsearch.tune(
        "convex-bound",
        space="linear",
        settings={"warmup": 0.0, "floor": 0.0},
        compare=True,
        storage=tmp_path / "x.journal",
        **words,
    )
    assert result.best.value == pytest.approx(FIGURES["polynomial"], rel=2e-4)
    found = result.comparison
    assert found.exact
    assert {c.verdict for n, c in found.versus.items() if n != "linear"} == {"better"}
    ranked = sorted(found.baselines, key=lambda b: b.value)
    assert ranked[0].name in ("linear", "wsd")
    assert np.all(np.diff([b.value for b in ranked]) > 0)
