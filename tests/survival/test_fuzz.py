"""Random input: it is refused in one line, or is read exactly as written.

Inputs are drawn from a seeded stream. Some are made of words that the parsers know, others by
changing a few characters of valid input.
"""

import json
import math
import random

import numpy as np
import pytest

from lrsearch import api
from lrsearch.errors import NothingFinished, RequestError
from lrsearch.ranges import Choices, Range, parse_setting
from lrsearch.schedule import FIELDS, Schedule
from lrsearch.space import Space, shipped_spaces
from tests.doubles import Bowl, search
from tests.survival.hostile import sealed, strange, unsealed
from tests.survival.swarm import essence

INPUTS = [pytest.param(2_500, id="tenth"), pytest.param(25_000, id="full", marks=pytest.mark.slow)]

NUMBERS = [
    *("0", "1", "-1", "0.5", "1e-3", "1e3", ".5", "5.", "1_000", "0x1f", "0o17", "1e999", "-0.0"),
    *("nan", ".nan", "inf", "-.inf", "1e-320", "9" * 20, "9" * 5000, "true", "null", "~", "١٢"),
    *("3.0", "2", "0.3", "0.9999999999999999", "1e308", "4611686018427387904"),
]
WORDS = [
    *FIELDS,
    *("about", "low", "high", "log", "step", "choices", "decay", "cosine", "spline", "linear"),
    *(
        "yes",
        "no",
        "on",
        "''",
        '"',
        "!!python/name:os.system",
        "&a",
        "*a",
        "<<",
        "|",
        ">",
        "%",
        "@",
    ),
    *("\x00", "\x85", "\u2028", "\ud800", "é", "🙂", "\t", "\r", "\x1b[31m", "#", "---", "..."),
]
MARKS = [":", ": ", "{", "}", "[", "]", ",", ", ", "\n", "\n  ", " ", "- ", "? ", "..", "=", "."]


def pieces(drawn, marks):
    parts = [
        drawn.choice(drawn.choice([NUMBERS, WORDS, marks])) for _ in range(drawn.randrange(12))
    ]
    return "".join(parts)


def changed(drawn, text):
    """Return a text with a few characters replaced, doubled, removed or inserted."""
    for _ in range(drawn.randrange(1, 4)):
        location = drawn.randrange(len(text) + 1)
        end = min(len(text), location + drawn.randrange(6))
        new = drawn.choice(
            ["", text[location:end] * 2, pieces(drawn, MARKS), drawn.choice(NUMBERS)]
        )
        text = text[:location] + new + text[end:]
    return text


def one_line(error):
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 700


def entry(drawn):
    """Return an entry of a space that is valid or nearly valid."""
    low, high = drawn.choice(NUMBERS), drawn.choice(NUMBERS)
    extra = drawn.choice(["", ", log: true", ", step: 0.1", ", log: yes, step: 2", ", hihg: 3"])
    return drawn.choice(
        [
            f"{{low: {low}, high: {high}{extra}}}",
            f"{{choices: [{low}, {high}, {drawn.choice(WORDS)}]}}",
            low,
            drawn.choice(WORDS),
        ]
    )


def yaml_text(drawn, right):
    if drawn.random() < 0.4:
        return changed(drawn, drawn.choice(right))
    if drawn.random() < 0.2:
        return pieces(drawn, MARKS)
    fields = [drawn.choice([*FIELDS, *WORDS]) for _ in range(drawn.randrange(1, 4))]
    return "\n".join(f"{name}: {entry(drawn)}" for name in fields)


def check_entries(space):
    """Check that every end of every range is a number that its field allows."""
    for name, found in space.entries.items():
        values = [found]
        if isinstance(found, Range):
            values = [found.low, found.high]
            assert found.low < found.high
        elif isinstance(found, Choices):
            values = list(found.values)
            assert len(set(values)) == len(values) > 1
        for value in values:
            assert FIELDS[name].check(name, value) == value
            assert isinstance(value, str) or value is None or math.isfinite(value)


@pytest.mark.parametrize("inputs", INPUTS)
def test_random_text_as_a_space_is_refused_or_read_as_written(inputs):
    drawn, accepted = random.Random(1), 0
    right = [path.read_text() for path in shipped_spaces().values()]
    for _ in range(inputs):
        text = yaml_text(drawn, right)
        try:
            space = Space.from_yaml(text)
        except RequestError as error:
            one_line(error)
            continue
        accepted += 1
        check_entries(space)
        assert Space.from_yaml(space.to_yaml()) == space
    assert 0.05 < accepted / inputs < 0.6


@pytest.mark.parametrize("inputs", INPUTS)
def test_random_text_as_a_setting_is_refused_or_read_as_written(inputs):
    drawn, accepted = random.Random(2), 0
    space = Space.load("default")
    for _ in range(inputs):
        value = drawn.choice(
            [
                pieces(drawn, MARKS),
                f"{drawn.choice(NUMBERS)}..{drawn.choice(NUMBERS)}",
                ",".join(drawn.choice([*NUMBERS, "cosine", "rex"]) for _ in range(2)),
                drawn.choice(NUMBERS),
            ]
        )
        name = drawn.choice([*FIELDS, pieces(drawn, MARKS)])
        try:
            found, made = parse_setting(f"{name}={value}")
            check_entries(space.with_entries({found: made}))
        except RequestError as error:
            one_line(error)
            continue
        assert found == name.strip()
        accepted += 1
    assert 0.03 < accepted / inputs < 0.6


@pytest.mark.parametrize("inputs", INPUTS)
def test_random_text_as_a_schedule_is_refused_or_read_as_written(inputs):
    drawn, accepted = random.Random(3), 0
    right = [
        json.dumps(Schedule(peak=0.1).to_dict()),
        '{"peak": 0.1, "decay": "spline", "knot_x1": 0.3, "floor": 0.1}',
    ]
    for _ in range(inputs):
        text = drawn.choice(
            [changed(drawn, drawn.choice(right)), _object(drawn), pieces(drawn, MARKS)]
        )
        try:
            schedule = Schedule.from_json(text)
        except RequestError as error:
            one_line(error)
            continue
        accepted += 1
        given = json.loads(text)
        for name, value in given.items():
            meant = float(value) if isinstance(value, int) else value
            assert schedule.to_dict()[name] == meant
        assert eval(repr(schedule)) == schedule == Schedule.from_dict(schedule.to_dict())
        try:
            plan = schedule.plan(steps=20, batch=4)
        except RequestError as error:
            one_line(error)
            continue
        assert np.isfinite(plan.lr).all()
        assert (plan.lr >= 0).all()
        assert (plan.batch >= 1).all()
        assert ((plan.momentum >= 0) & (plan.momentum < 1)).all()
    assert accepted > 0.02 * inputs


def _object(drawn):
    names = ["peak", *(drawn.choice([*FIELDS, "warmpu"]) for _ in range(drawn.randrange(3)))]
    values = [drawn.choice([*NUMBERS, '"cosine"', '"1"', "[]", "{}", "NaN"]) for _ in names]
    return "{" + ", ".join(f'"{n}": {v}' for n, v in zip(names, values, strict=True)) + "}"


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    search(Bowl(), folder, trials=3, sampler="random")
    return (folder / "x.journal").read_bytes()


@pytest.mark.parametrize("inputs", INPUTS)
def test_a_journal_with_random_damage_is_refused_or_has_only_true_trials(
    tmp_path, journal, inputs
):
    drawn, opened = random.Random(4), 0
    path = tmp_path / "x.journal"
    path.write_bytes(journal)
    truth = set(essence(api.load("s", storage=str(path)))[0])
    for _ in range(inputs):
        content = bytearray(journal)
        for _ in range(drawn.randrange(1, 4)):
            location, length = drawn.randrange(len(content) + 1), drawn.choice([0, 1, 1, 8, 300])
            new = drawn.choice([b"", b"\n", b"\x00", drawn.randbytes(length), content[:length]])
            content[location : location + length] = new
        path.write_bytes(content)
        try:
            kept = essence(api.load("s", storage=str(path)))[0]
        except RequestError as error:
            one_line(error)
            continue
        opened += 1
        assert set(kept) <= truth
    assert 0 < opened < inputs / 3


@pytest.mark.parametrize(
    "inputs", [500, pytest.param(5_000, marks=pytest.mark.slow)], ids=["tenth", "full"]
)
def test_random_records_with_valid_checksums_are_refused_in_one_line_or_read(
    tmp_path, journal, inputs
):
    """The file was made on purpose: its checksums are valid and its content is not."""
    drawn, path = random.Random(5), tmp_path / "x.journal"
    records = unsealed(journal)
    opened = 0
    for _ in range(inputs):
        wrong = list(records)
        location = drawn.randrange(len(wrong))
        wrong[location] = strange(drawn, wrong[location])
        path.write_bytes(sealed(r if isinstance(r, dict) else {"x": r} for r in wrong))
        try:
            result = api.load("s", storage=str(path))
            result.to_frame()
            json.dumps(result.to_dict(), allow_nan=False)
        except (RequestError, NothingFinished) as error:
            one_line(error)
            continue
        opened += 1
    assert 0.2 < opened / inputs < 0.8
