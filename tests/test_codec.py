"""The codec: it reads its own records as equal values and rejects all other records."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.codec import DEEPEST, Line, decode, encode
from lrsearch.comparison import Comparison
from lrsearch.contender import Contender
from lrsearch.outcome import Outcome, Trial
from lrsearch.ranges import Choices, Range, Value
from lrsearch.run import Run
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.study.heartbeat import Worker
from lrsearch.study.settings import Settings
from lrsearch.study.spec import StudySpec, resolve
from lrsearch.study.store import Facts
from lrsearch.study.trial_records import Attempt, EndedTrial
from lrsearch.trace import Trace
from tests.doubles import Bowl

SCHEDULE = Schedule(peak=0.1, warmup=0.05, decay="rex", momentum=0.9)
LOSS = Trace((0, 2, 3), (1.5, 0.1, 1e-300))
FINISHED = Outcome(
    trial=7,
    replicate=0,
    state="finished",
    value=0.1 + 0.2,
    updates=4,
    traces={"loss": LOSS},
    figures={"accuracy": 0.9},
    seconds=0.25,
    probing=0.125,
    retries=2,
)
FAILED = Outcome(
    trial=7, replicate=1, state="failed", reason="ValueError: é", details="Traceback\n\ta\n"
)
SPACE = Space(
    name="mine",
    entries={
        "peak": Range(low=1e-3, high=1.0, log=True),
        "warmup": Range(low=0.0, high=0.3, step=0.1),
        "decay": Choices(("cosine", "rex")),
        "floor": 0.1,
    },
)
CONTENDER = Contender(
    name="trial 7",
    schedule=SCHEDULE,
    values=(0.5, None),
    peaks=(0.1, 0.2),
    selection=(0.5, None),
    losses=(LOSS,),
)
SPEC = resolve(
    Settings(space=SPACE, study="s", storage="s.journal", steps=30, seeds=3, seed=2**31 - 1),
    Bowl().setup,
)

#: One value of every kind of record, with fields that differ from their defaults.
RECORDS = {
    Outcome: FINISHED,
    Trial: Trial(index=7, schedule=SCHEDULE, outcomes=(FINISHED, FAILED)),
    Attempt: Attempt(index=7, worker="w", point={"peak": 0.1, "cycles": 2, "decay": "rex"}),
    EndedTrial: EndedTrial(
        study="id",
        index=7,
        state="failed",
        schedule=SCHEDULE,
        outcomes=(FINISHED, FAILED),
        told=None,
    ),
    Comparison: Comparison(
        unit="nats",
        exact=False,
        best=CONTENDER,
        baselines=(dataclasses.replace(CONTENDER, name="cosine"),),
        best_baseline="cosine",
        candidates=5,
        seeds=2,
        runs=10**9,
        importance={"peak": 0.75},
    ),
    Space: SPACE,
    Schedule: SCHEDULE,
    Worker: Worker(id="a", host="b c", pid=1, started="2", since="3", beat=4, clock=0.5),
    StudySpec: dataclasses.replace(SPEC, id="id", options={"hidden": 8, "deep": [{"a": None}]}),
    Facts: Facts(device="cpu", data={"name": "x", "profile": {"samples": 3}}, sampler="gp"),
    Trace: LOSS,
    Run: Run(
        trial=7,
        replicate=5,
        seed=11,
        plan=SCHEDULE.plan(9, 4),
        untrained=2.0,
        home="/a",
        retries=1,
    ),
}
KINDS = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


def stored(kind):
    """Return the record of a kind as it is read from a file."""
    return json.loads(json.dumps(encode(RECORDS[kind]), allow_nan=False))


def comparable(value):
    """Return a value in a form that `==` compares by stored fields.

    A Run equals only itself, and a StudySpec has fields that are not stored.
    """
    return encode(value) if isinstance(value, Run | StudySpec) else value


@KINDS
def test_a_record_is_read_as_an_equal_value(kind):
    again = decode(kind, stored(kind))
    assert type(again) is kind
    assert comparable(again) == comparable(RECORDS[kind])
    assert encode(again) == encode(RECORDS[kind])


def test_fields_that_equality_ignores_are_read_too():
    outcome, run = decode(Outcome, stored(Outcome)), decode(Run, stored(Run))
    assert outcome.retries == 2
    assert (run.plan, run.home, run.limit) == (RECORDS[Run].plan, "/a", None)
    assert [t.dtype for t in (run.plan.lr, run.plan.batch)] == ["float64", "int64"]
    spec = decode(StudySpec, stored(StudySpec))
    assert spec.differences(RECORDS[StudySpec]) == []
    assert (spec.id, spec.versions) == ("id", SPEC.versions)


@pytest.mark.parametrize(
    "kind", [Outcome, Trial, Attempt, EndedTrial, Comparison, Worker, StudySpec, Run]
)
def test_missing_required_fields_and_unknown_fields_are_rejected(kind):
    record, needed = stored(kind), 0
    for each in dataclasses.fields(kind):
        if each.name not in record:
            continue
        short = {name: value for name, value in record.items() if name != each.name}
        free = dataclasses.MISSING in (each.default, each.default_factory)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            needed += 1
            with pytest.raises(ValueError, match="record is "):
                decode(kind, short)
        elif free and kind is not Outcome:  # an outcome that finished has a value
            assert type(decode(kind, short)) is kind
    assert needed > 0
    with pytest.raises(ValueError, match="record is "):
        decode(kind, {**record, "further": 1})


def shown(given):
    """Return a short name of a parameter, which may contain unprintable characters."""
    return getattr(given, "__name__", None) or ascii(given)[:24]


def nested(depth, inner, wrap):
    for _ in range(depth):
        inner = wrap(inner)
    return inner


def places(value, path=()):
    """Yield the path of every item of a JSON value, as a tuple of keys and indices."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def replaced(value, path, new):
    """Return a JSON value in which the item at a path is replaced."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


WRAPS = [pytest.param(lambda x: [x], id="lists"), pytest.param(lambda x: {"a": x}, id="objects")]

HOSTILE = [
    *((int, wrong) for wrong in (True, 1.0, "1", None, [1], {})),
    *((float, wrong) for wrong in (True, "1.5", None, [1.5], math.nan, math.inf, 10**400)),
    *((bool, wrong) for wrong in (0, 1, 1.0, "true", None)),
    *((str, wrong) for wrong in (1, 1.5, True, None, ["a"], {"a": "b"})),
    *((Line, wrong) for wrong in (1, None, "a\nb", "\x1b[31m", "a\x00", "\u2028", "\ud800")),
    *((type(None), wrong) for wrong in (0, False, "", [], {})),
    *((int | None, wrong) for wrong in (True, 1.0, "1")),
    *((Value, wrong) for wrong in (True, None, math.nan, [], {})),
    *((tuple[int, ...], wrong) for wrong in ({"0": 1}, 1, "12", None, [1, True], [1.0])),
    *((tuple[int, float], wrong) for wrong in ([1], [1, 1.5, 2], [1.0, 1.5], {"a": 1})),
    *((Mapping[str, int], wrong) for wrong in ([1], [["a", 1]], 1, None, {"a": True})),
    *((Any, wrong) for wrong in (math.nan, [math.inf], {"a": {"b": -math.inf}}, (1, 2), {1})),
    *((Facts, wrong) for wrong in (None, 1, "x", [], [["device", "cpu"]], {"device": 1})),
]


@pytest.mark.parametrize(("kind", "wrong"), HOSTILE, ids=shown)
def test_the_error_about_a_value_of_another_type_names_its_position(kind, wrong):
    with pytest.raises(ValueError, match=r"^here"):
        decode(kind, wrong, "here")


WRONG_FIELDS = [
    *((Outcome, "trial", wrong) for wrong in (True, 1.0, "7", None)),
    *((Outcome, "value", wrong) for wrong in (math.nan, math.inf, True, "0.5", 10**400)),
    *((Outcome, "traces", wrong) for wrong in ([], [["loss", []]], None)),
    *((Outcome, "traces.loss", wrong) for wrong in ({}, [], [[0]], [[0], [1.0, 2.0]], [[0], 1])),
    *((Outcome, "traces.loss.0.0", wrong) for wrong in (True, 0.0, "0")),
    *((Outcome, "traces.loss.1.0", wrong) for wrong in (True, math.nan, None)),
    *((Trial, "outcomes", wrong) for wrong in ({}, {"0": {}}, "x", None)),
    *((Attempt, "point.peak", wrong) for wrong in (None, True, math.inf, [0.1])),
    *((EndedTrial, "index", wrong) for wrong in (-1, 8, 10**12, True)),
    *((EndedTrial, "outcomes", wrong) for wrong in ([], {})),
    *((EndedTrial, "state", wrong) for wrong in ("finished", "odd", None)),
    *((Comparison, "exact", wrong) for wrong in (0, 1, "false", None)),
    *((Comparison, "baselines", wrong) for wrong in ({}, {"cosine": {}}, None)),
    *((Comparison, "best.values.0", wrong) for wrong in ("0.5", True, math.nan)),
    *((Comparison, "importance.peak", wrong) for wrong in (math.nan, None, True)),
    *((Comparison, "best_baseline", wrong) for wrong in ("nobody", "", None)),
    *((Comparison, "baselines", wrong) for wrong in ([],)),
    *((Comparison, "best.name", wrong) for wrong in ("a\x1b[31m", None)),
    *((Comparison, "best.peaks", wrong) for wrong in ([], [0.1], [0.1, 0.2, 0.3])),
    *((Comparison, "best.selection", wrong) for wrong in ([], [0.5])),
    *((Space, "name", wrong) for wrong in ("a\x1b[31m", "a\nb", 1, None)),
    *((Space, "entries", wrong) for wrong in ([], None, {"warmpu": 0.1})),
    *((Space, "entries.peak", wrong) for wrong in (True, math.nan, [0.1], {"low": 1}, None)),
    *((Schedule, "peak", wrong) for wrong in (True, math.nan, math.inf, "0.1", None, 0, 10**400)),
    *((Worker, "host", wrong) for wrong in ("a\x1b]0;owned\x07", 1, None)),
    *((Worker, "pid", wrong) for wrong in (True, 1.0, "1")),
    *((StudySpec, "name", wrong) for wrong in ("../x", "a\nb", 1)),
    *((StudySpec, "unit", wrong) for wrong in ("a\x1b[31m", "a\nb", "", None)),
    *((StudySpec, "seed", wrong) for wrong in (True, 1.5, -1, 2**31, 10**400, "0")),
    *((StudySpec, "options", wrong) for wrong in ([], {"a": math.nan}, None)),
    *((StudySpec, "versions", wrong) for wrong in ([], {"a": True}, {"a": 1.0})),
    *((StudySpec, "space", wrong) for wrong in ([], {}, {"name": "x"}, "mine")),
    *((Run, "seed", wrong) for wrong in (True, 1.0, None)),
    *((Run, "stops", wrong) for wrong in (1, 0, "true")),
    *((Run, "plan", wrong) for wrong in ({}, [[], []], [[0.1], [1], []], [[0.1], [1], "x"])),
    *((Run, "plan.0.0", wrong) for wrong in (True, "0.1", None, math.nan, math.inf, 10**400)),
    *((Run, "plan.1.0", wrong) for wrong in (True, 1.5, math.nan, math.inf, 2**63, 1e300)),
]


@pytest.mark.parametrize(("kind", "field", "wrong"), WRONG_FIELDS, ids=shown)
def test_a_record_with_a_wrong_value_is_rejected(kind, field, wrong):
    record = stored(kind)
    path = tuple(int(key) if key.isdecimal() else key for key in field.split("."))
    assert path in set(places(record))
    with pytest.raises(ValueError):  # noqa: PT011  # each field has its own message
        decode(kind, replaced(record, path, wrong))


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_depth_of_a_value_of_any_type_in_a_record_is_limited(wrap):
    wrong = {**stored(StudySpec), "options": {"deep": nested(DEEPEST, 1, wrap)}}
    with pytest.raises(ValueError, match=r"record\.options\.deep.* is 'nested too deeply'"):
        decode(StudySpec, wrong)


def test_numbers_and_strings_keep_their_types():
    assert repr(decode(float, 3)) == "3.0"
    assert [repr(decode(Value, value)) for value in (3, 3.0, "3")] == ["3", "3.0", "'3'"]
    assert decode(Mapping[str, Any], {"a": [1, 1.5, "x", None, True, {"b": []}]})
    assert decode(tuple[int, float], [1, 2]) == (1, 2.0)


def test_an_error_names_the_position_of_the_wrong_value_and_is_short():
    record = stored(EndedTrial)
    record["outcomes"][1]["seconds"] = "x" * 10_000
    with pytest.raises(ValueError, match=r"^record\.outcomes\[1\]\.seconds is 'x+'$") as caught:
        decode(EndedTrial, record)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_depth_of_a_value_of_any_type_is_limited(wrap):
    assert decode(Any, nested(DEEPEST - 1, 1, wrap)) == nested(DEEPEST - 1, 1, wrap)
    for depth in (DEEPEST, 100, 10_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            decode(Any, nested(depth, 1, wrap))


@KINDS
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [500, 980, 100_000])
def test_deeply_nested_values_are_rejected_in_every_position(kind, wrap, depth):
    """Check depths below and above the limit of `json.loads`; other readers may accept more."""
    record, deep, strange = stored(kind), nested(depth, 1, wrap), {}
    for path in places(record):
        try:
            strange[path] = decode(kind, replaced(record, path, deep))
        except ValueError:
            continue
        except RecursionError as error:
            strange[path] = repr(error)
    assert strange == {}


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**30, 2**63, -(2**63) - 1, 10**400, math.nan, math.inf, -0.0, 1e308]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def check_is_decoded_or_rejected(kind, value):
    try:
        found = decode(kind, value)
    except ValueError:
        return
    assert type(found) is kind
    assert comparable(decode(kind, json.loads(json.dumps(encode(found))))) == comparable(found)


ODD = [
    *(None, True, False, 0, -1, 1.5, 2**63, 10**30, 10**400, -(10**400), 1e308, 9.3e18),
    *(math.nan, math.inf, -math.inf, "", "x", "1", "\x1b[31m", "\ud800", "a" * 10_000),
    *([], {}, [[]], [1, 2], {"a": 1}, {"low": 1, "high": 10**400}, {"choices": [[], {}]}),
]


@KINDS
def test_a_record_with_one_odd_value_is_decoded_to_its_type_or_rejected(kind):
    record, strange = stored(kind), {}
    for path in places(record):
        for odd in ODD:
            try:
                check_is_decoded_or_rejected(kind, replaced(record, path, odd))
            except Exception as error:  # noqa: BLE001  # everything except ValueError is a fault
                strange[path, repr(odd)[:20]] = repr(error)[:100]
    assert strange == {}


@KINDS
@given(JSON)
def test_any_json_value_is_decoded_to_its_type_or_rejected(kind, value):
    check_is_decoded_or_rejected(kind, value)


@KINDS
@given(st.data())
@settings(max_examples=300)
def test_a_record_with_a_random_json_value_is_decoded_to_its_type_or_rejected(kind, data):
    record = stored(kind)
    path = data.draw(st.sampled_from(sorted(places(record), key=repr)))
    check_is_decoded_or_rejected(kind, replaced(record, path, data.draw(JSON)))
