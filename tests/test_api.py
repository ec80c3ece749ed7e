"""The public functions `tune` and `load`."""

import json

import pytest

import lrsearch
from lrsearch.errors import RequestError
from tests.doubles import Bowl, asked


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tune_and_load_agree():
    made = lrsearch.tune(
        "quadratic", trials=6, sampler="random", tracking_uri="none", compare=False
    )
    read = lrsearch.load("quadratic-default")
    assert asked(read) == asked(made)
    assert read.reference == made.reference
    assert made.seconds > 0


def test_tune_accepts_any_object_that_follows_the_objective_contract():
    result = lrsearch.tune(Bowl(), space="cosine", trials=4, tracking_uri="none", compare=False)
    assert (result.study, result.unit, len(result.trials)) == ("bowl-cosine", "points", 4)


def test_tune_takes_a_space_and_settings_as_objects():
    space = lrsearch.Space(
        name="mine", entries={"decay": "polynomial", "warmup": {"low": 0, "high": 0.2}}
    )
    result = lrsearch.tune(
        Bowl(),
        space=space,
        settings={"peak": lrsearch.Range(low=0.01, high=0.1, log=True), "floor": 0.1},
        trials=5,
        sampler="qmc",
        tracking_uri="none",
        compare=False,
    )
    assert result.space == "mine"
    for trial in result.trials:
        assert 0.01 <= trial.schedule.peak <= 0.1
        assert (trial.schedule.floor, trial.schedule.decay) == (0.1, "polynomial")


def test_options_are_for_built_in_objectives_only():
    with pytest.raises(RequestError, match="applies to built-in objectives"):
        lrsearch.tune(Bowl(), options={"modes": 3}, compare=False)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"trials": "a"}, {"trials": 1.5}, {"seeds": 1.5}, {"seed": "x"}),
        *({"settings": {"peak": "x"}}, {"settings": 3}, {"space": None}, {"space": 3}),
        *({"objective": 3}, {"objective": None}, {"objective": print}, {"sampler": None}),
        *({"timeout": "x"}, {"timeout": -1}, {"timeout": 0}, {"study": 3}, {"storage": 3}),
        *({"tracking_uri": 3}, {"options": {"modes": None}}, {"options": 3}),
        *({"steps": 10**12}, {"steps": True}, {"batch": [1]}),
    ],
    ids=repr,
)
def test_a_wrong_argument_raises_a_request_error_of_one_line(here, wrong):
    words = {"objective": "quadratic", "tracking_uri": "none", "trials": 1, **wrong}
    with pytest.raises(RequestError) as caught:
        lrsearch.tune(words.pop("objective"), **words, compare=False)
    assert "\n" not in str(caught.value)
    assert not list(here.iterdir())


def test_a_study_is_tracked_in_the_current_folder_by_default(here, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = lrsearch.tune("quadratic", trials=2, sampler="random", compare=False)
    assert result.tracking_uri == "sqlite:///mlflow.db"
    assert result.run_id
    assert (here / "mlflow.db").is_file()
    assert json.loads(json.dumps(result.to_dict()))["run_id"] == result.run_id


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_two_hundred_trials_of_the_spline_space_end_within_two_percent_of_the_optimum(seed):
    """The target is nine of ten seeds. Measured ratios are 1.0009 to 1.0135."""
    result = lrsearch.tune(
        "quadratic", space="spline", trials=200, seed=seed, tracking_uri="none", compare=False
    )
    assert result.reference["ratio"] < 1.02
