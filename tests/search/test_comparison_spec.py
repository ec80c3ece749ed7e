"""The settings of a comparison."""

import dataclasses
import json

import pytest

import lrsearch
from lrsearch.errors import RequestError
from lrsearch.search.comparison_spec import ComparisonSpec
from tests.doubles import Expensive, Watch, search


def test_a_copy_of_the_settings_keeps_the_types_of_its_fields(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(lrsearch.Schedule(peak=0.1, warmup=0.2).to_dict()))
    asked = ComparisonSpec(frugal=True, against=["cosine", str(path)])
    again = dataclasses.replace(asked, frugal=False)
    assert again.against == asked.against == ["cosine", str(path)]
    assert again.opponents == asked.opponents
    assert [name for name, _ in again.opponents] == ["cosine", "mine"]


def test_a_frugal_comparison_that_needs_too_many_runs_is_declined_with_its_cost(tmp_path):
    callback = Watch()
    asked = ComparisonSpec(frugal=True, against=["cosine"])
    result = search(
        Expensive(), tmp_path, trials=12, sampler="random", callback=callback, compare=asked
    )
    assert result.comparison is None
    (offers,) = callback.offers
    assert "5 candidates, 7 alternatives, 20 fresh seeds" in offers[-1].plan.describe()
    assert offers[-1].seconds == 3.0 * offers[-1].plan.runs > 3.0 * 12


def test_an_unknown_baseline_is_refused_with_the_nearest_name():
    with pytest.raises(RequestError, match="did you mean 'linear'"):
        ComparisonSpec(against=["lienar"])
