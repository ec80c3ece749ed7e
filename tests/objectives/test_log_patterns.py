"""Patterns that read numbers from logs as programs print them."""

import math

import pytest

from lrsearch.errors import RequestError
from lrsearch.objectives.log_patterns import LogPattern

REPORT, VALUE = ("t", "loss"), ("value",)


@pytest.mark.parametrize(
    ("pattern", "line", "numbers"),
    [
        ("iter {t}: loss {loss}", "iter 250: loss 1.9876, time 12.34ms, mfu 5.1%", (250, 1.9876)),
        ("iter {t}: loss {loss}", "iter   250:\tloss  1e-3", (250, 1e-3)),
        ("step {t}/{} loss {loss}", "[12:00] step 7/2000 (0.3 s) loss -2.5E+1", (7, -25.0)),
        ("Step {t} loss={loss}", "\x1b[32mSTEP 12,000\x1b[0m loss=nan", (12_000, math.nan)),
        ("{t} {loss}", "1_000 .5", (1000, 0.5)),
        ("({t}) [loss: {loss}]", "(3) [loss: 2.]", (3, 2.0)),
        (
            "'loss': {loss}, 'step': {t}",
            "{'loss': 0.25, 'lr': 1}, {'loss': 0.5, 'step': 9}",
            (9, 0.5),
        ),
    ],
)
def test_a_report_is_read_as_it_is_printed(pattern, line, numbers):
    found = LogPattern(pattern, REPORT).read(line)
    assert list(found) == ["t", "loss"]
    assert tuple(found.values()) == pytest.approx(numbers, nan_ok=True)


@pytest.mark.parametrize(
    ("pattern", "line", "value"),
    [
        ("val loss {value}", "step 5: train loss 1.0, val loss 2.25", 2.25),
        ("val loss {value}", "val loss 1.0 val loss 0.5", 0.5),
        ("val loss {value}", "VAL LOSS 1.5e-05.", 1.5e-05),
        ("accuracy: {value} %", "accuracy: 97.25 %", 97.25),
        ("{value}", "0.5", 0.5),
        ("loss={value}", "loss=inf", math.inf),
        ("loss {value}", "loss 1,234.5", 1234.5),
        ("loss {value}", "loss 12,345,678", 12_345_678),
        ("loss: {value}", "loss: '2.5'", 2.5),
        ('"loss": {value}', '{"loss": "2.5"}', 2.5),
        ("{},{},{value}", "1,0.25,0.5", 0.5),
        ("{}a{}loss {value}{}", "b a loss x loss 0.5 nats", 0.5),
        ("loss {value}nats", "loss 0.5nats", 0.5),
    ],
)
def test_a_value_is_the_last_match_of_a_line(pattern, line, value):
    assert LogPattern(pattern, VALUE).read(line) == {"value": value}


@pytest.mark.parametrize(
    "line",
    [
        *("", "val loss", "val loss n/a", "train loss 1.0", "val\nloss", "eval loss: 1.0"),
        *("val loss information saved", "val loss nanosecond", "val loss 1,5", "val loss 1x5"),
    ],
)
def test_other_lines_do_not_match(line):
    assert LogPattern("val loss {value}", VALUE).read(line) is None


@pytest.mark.parametrize(
    "pattern", ["val loss", "{t} {loss} {loss}", "{loss}", "{t} {los}", "iter {t}: {value}"]
)
def test_wrong_placeholders_are_refused_with_the_right_ones(pattern):
    with pytest.raises(RequestError, match=r"give \{t\} and \{loss\}, each once"):
        LogPattern(pattern, REPORT)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("{value}", "1" * 16_000 + "x1"),
        ("loss {value}", "loss " + "1" * 16_000 + "x1"),
        ("a{}b{}c{}loss {value}", "abc" * 1_000),
        ("{}loss {value}", "x" * 16_000),
    ],
)
def test_a_line_costs_no_more_than_a_few_passes_over_it(pattern, line):
    """Backtracking over every split of these lines would take minutes, or years."""
    assert LogPattern(pattern, VALUE).read(line) is None


def test_an_index_of_too_many_digits_does_not_match():
    assert LogPattern("{t} {loss}", REPORT).read("1" * 400 + " 2.5") is None
