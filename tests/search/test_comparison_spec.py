"""What a comparison is asked for, and what becomes of it when it is made again."""

import dataclasses
import json

import pytest

import lrsearch
from lrsearch.errors import RequestError
from lrsearch.search.comparison_spec import ComparisonSpec
from tests.doubles import Dear, Watch, search


def test_fields_keep_their_types_when_a_comparison_is_asked_for_again(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(lrsearch.Schedule(peak=0.1, warmup=0.2).to_dict()))
    asked = ComparisonSpec(frugal=True, against=["cosine", str(path)])
    again = dataclasses.replace(asked, frugal=False)
    assert again.against == asked.against == ["cosine", str(path)]
    assert again.opponents == asked.opponents
    assert [name for name, _ in again.opponents] == ["cosine", "mine"]


def test_a_frugal_comparison_with_a_named_baseline_that_costs_too_much_is_offered(tmp_path):
    callback = Watch()
    asked = ComparisonSpec(frugal=True, against=["cosine"])
    result = search(
        Dear(), tmp_path, trials=12, sampler="random", callback=callback, compare=asked
    )
    assert result.comparison is None
    ((bill, seconds),) = callback.refused
    assert "1 baselines" in bill
    assert seconds > 3.0 * 12


def test_a_baseline_that_there_is_not_is_refused_with_the_nearest_one():
    with pytest.raises(RequestError, match="did you mean 'linear'"):
        ComparisonSpec(against=["lienar"])
