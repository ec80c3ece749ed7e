"""Spaces: reading and writing YAML, hostile YAML, settings, and the shipped spaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch import Schedule
from lrsearch.errors import RequestError
from lrsearch.ranges import Choices, Range, parse_setting
from lrsearch.schedule import FIELDS, Budget
from lrsearch.space import Space, shipped_spaces

SHIPPED = [
    *("default", "cosine", "linear", "wsd", "step", "exponential", "power_law", "rex"),
    *("spline", "restarts", "smoothed", "batch_ramp", "momentum", "full"),
]
PEAK = {"peak": Range(low=0.01, high=1.0, log=True), "momentum": 0.9}


def test_all_shipped_spaces_exist():
    assert sorted(shipped_spaces()) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_space_has_a_description_and_no_peak(name):
    space = Space.load(name)
    assert space.about
    assert space.about.endswith(".")
    assert space.free
    assert "peak" not in space.entries
    assert Space.from_yaml(space.to_yaml(), name) == space


@pytest.mark.parametrize("name", SHIPPED)
def test_the_default_point_and_both_ends_of_every_range_give_a_plan(name):
    space = Space.load(name).with_defaults(PEAK)
    space.check_budget(Budget(steps=100, batch=8))
    default_point = space.default_point()
    space.schedule(default_point).plan(100, 8)
    for field, entry in space.free.items():
        ends = entry.values if isinstance(entry, Choices) else (entry.low, entry.high)
        for end in ends:
            space.schedule({**default_point, field: end}).plan(100, 8)


def test_exponent_notation_is_a_number():
    space = Space.from_yaml("peak: {low: 1e-4, high: 1e-1, log: true}\nfloor: 1e-3")
    assert space.entries["peak"] == Range(low=1e-4, high=1e-1, log=True)
    assert space.entries["floor"] == 1e-3


def test_the_objectives_entries_fill_only_fields_that_the_space_does_not_name():
    space = Space.from_yaml("momentum: 0.5").with_defaults(PEAK)
    assert space.entries["momentum"] == 0.5
    assert space.entries["peak"] == PEAK["peak"]


def test_entries_are_in_the_order_in_which_the_fields_act():
    space = Space.from_yaml("floor: 0.1\nwarmup: 0.2\npeak: 1")
    assert list(space.entries) == ["peak", "warmup", "floor"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("warmup: {low: 0.3, high: 0.1}", 1, "low 0.3 is not below high 0.1"),
        ("warmup: {low: 0.1, high: 0.1}", 1, "not below"),
        ("warmup: {low: a, high: 0.1}", 1, "low is 'a', which is not a number"),
        ("warmup: {low: 0.1}", 1, "high is missing"),
        ("warmup: {low: 0, high: 1.0}", 1, r"high is 1; give a number in \[0, 1\)|high is 1.0"),
        ("about: x\nwarmpu: 0.1", 2, "did you mean 'warmup'"),
        ("about: x\n\nwarmup: {lo: 0, high: 0.1}", 3, "did you mean 'low'"),
        ("warmup: yes", 1, "warmup is 'yes', which is not a number"),
        ("warmup: true", 1, "which is not a number"),
        ("warmup:", 1, "warmup is empty"),
        ("peak: {low: 0, high: 1, log: true}", 1, "low is 0"),
        ("floor: {low: 0, high: 0.5, log: true}", 1, "log needs low above 0"),
        ("floor: {low: 0.1, high: 0.5, log: 1}", 1, "log is 1; give true or false"),
        ("floor: {low: 0.1, high: 0.5, step: 1}", 1, "step 1.0 is wider"),
        ("floor: {low: 0.1, high: 0.5, step: 0.1, log: true}", 1, "exclude each other"),
        ("decay: {low: 1, high: 2}", 1, "decay takes one of"),
        ("decay: {choices: [cosine]}", 1, "at least two"),
        ("decay: {choices: [cosine, cosine]}", 1, "repeats a value"),
        ("decay: {choices: [cosine, cosin]}", 1, "did you mean 'cosine'"),
        ("cycles: {low: 1.5, high: 3}", 1, "low is 1.5; give an integer"),
        ("warmup: 0.1\nwarmup: 0.2", 2, "is given twice"),
        ("warmup: {low: 0, low: 0.1, high: 0.2}", 1, "is given twice"),
        ("a: [", 1, "expected"),
        ("x: !!python/object/apply:os.system [ls]", 1, "could not determine a constructor"),
        ("floor: &f 0.1\nwarmup: *f", 2, "aliases are not allowed"),
        ("floor: [[[[[[[[1]]]]]]]]", 1, "nested too deeply"),
        ("[a, b]: 1", 1, "a key must be a word"),
        ("about: [x]", 1, "about is"),
        ("a: b: c", 1, "mapping values are not allowed"),
    ],
)
def test_an_error_names_the_wrong_line(text, line, message):
    with pytest.raises(RequestError, match=f"^s.yaml, line {line}: .*({message})") as caught:
        Space.from_yaml(text, "s.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "3", "- a", "\x00", "[" * 60_000, "a" * 70_000, "--- 1\n--- 2"]
)
def test_text_that_is_not_a_space_gives_an_error_of_one_line(text):
    with pytest.raises(RequestError) as caught:
        Space.from_yaml(text)
    assert "\n" not in str(caught.value)


def error_of(make):
    """Return the error message, or an empty text if the input is a valid space."""
    try:
        space = make()
    except RequestError as error:
        return str(error)
    return "" if isinstance(space, Space) else "\n"


@given(st.text(max_size=80))
def test_any_text_is_a_space_or_gives_an_error_of_one_line(text):
    message = error_of(lambda: Space.from_yaml(text))
    assert "\n" not in message


@given(st.sampled_from(sorted(FIELDS)), st.text(alphabet="0123456789.-+e,:= cosine", max_size=12))
def test_any_setting_is_read_or_gives_an_error_of_one_line(name, value):
    message = error_of(lambda: Space(name="x", entries=dict([parse_setting(f"{name}={value}")])))
    assert "\n" not in message


def test_a_setting_is_a_value_a_range_or_choices():
    assert parse_setting("warmup=0.05") == ("warmup", 0.05)
    assert parse_setting("peak=1e-3..1e-1") == ("peak", Range(low=1e-3, high=0.1, log=True))
    assert parse_setting("warmup=0..0.1") == ("warmup", Range(low=0.0, high=0.1))
    old = Range(low=0.1, high=5.0, log=True)
    assert parse_setting("bend=0.5..1", old) == ("bend", Range(low=0.5, high=1.0, log=True))
    assert parse_setting("decay=cosine,rex") == ("decay", Choices(("cosine", "rex")))
    assert parse_setting("decay=step") == ("decay", "step")


@pytest.mark.parametrize("text", ["", "warmup", "=3", "warmup=", "warmup=a", "warmup=0..", "x=1"])
def test_a_setting_that_cannot_be_read_is_rejected(text):
    with pytest.raises(RequestError):
        parse_setting(text)


def test_a_space_without_a_decay_phase_within_its_budget_is_rejected_before_the_search():
    space = Space.from_yaml("hold: {low: 0, high: 0.99}", "mine").with_defaults(PEAK)
    space.check_budget(Budget(steps=1000, batch=8))
    with pytest.raises(
        RequestError, match=r"space mine has invalid schedules: .*leave no decay phase"
    ):
        space.check_budget(Budget(steps=20, batch=8))


def test_contradicting_momentum_ranges_are_rejected_before_the_search():
    space = Space.from_yaml("momentum: {low: 0.5, high: 0.9}\nmomentum_rule: opposed")
    with pytest.raises(RequestError, match=r"momentum_low 0\.85 is above momentum 0\.5"):
        space.with_defaults(PEAK).check_budget(Budget(steps=100, batch=8))


def test_a_point_becomes_a_schedule():
    space = Space.load("cosine").with_entries({"peak": 0.1})
    point = {"warmup": 0.1, "floor": 0.05}
    assert space.schedule(point) == Schedule(peak=0.1, warmup=0.1, floor=0.05)


@pytest.mark.parametrize("name", ["nosuch", "cosin", "/nosuch.yaml", "../x", "tests.yaml"])
def test_an_unknown_space_is_rejected(name):
    with pytest.raises(RequestError):
        Space.load(name)


def test_a_file_that_is_not_text_is_rejected(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not UTF-8 text"):
        Space.load(str(path))
    with pytest.raises(RequestError, match="cannot read"):
        Space.load(str(tmp_path) + "/folder.yaml")


def test_the_last_point_of_a_grid_is_not_above_the_end():
    """Check a grid with step 0.1 to 0.3; in floating point, 0.1·3 is above 0.3."""
    space = Space(name="s", entries={"peak": 1.0, "warmup": {"low": 0, "high": 0.3, "step": 0.1}})
    grid = space.free["warmup"]
    assert grid.at(0.999) == 0.3
    assert grid.clip(0.31) == 0.3
    assert space.default_point()["warmup"] <= 0.3


def test_the_upper_end_of_a_range_is_not_exceeded_by_rounding():
    for low, high in ((0.03, 0.3), (0.07, 0.9), (0.15, 0.45), (0.3, 0.9)):
        assert Range(low=low, high=high).at(1.0) <= high
