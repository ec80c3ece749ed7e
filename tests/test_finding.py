"""Findings: the verdict follows from the cases, and figures are checked."""

import math

import numpy as np
import pytest

from lrsearch.finding import VERDICTS, Finding, Line, Panel

HOLDS, HOLDS_IF, DOES_NOT = VERDICTS


def test_a_finding_stores_cases_and_computes_the_verdict():
    marks = [({"a": True, "b": True}, HOLDS), ({"a": True, "b": False}, HOLDS_IF)]
    for cases, verdict in [*marks, ({"a": False}, DOES_NOT)]:
        assert Finding(cases=cases, figures={}).verdict == verdict
    with pytest.raises(ValueError, match="at least one case"):
        Finding(cases={}, figures={})
    for bad in (math.nan, math.inf, (0.0, math.nan)):
        with pytest.raises(ValueError, match="finite"):
            Finding(cases={"a": True}, figures={"x": bad})
    finding = Finding(cases={"a": True}, figures={"x": np.float64(1), "y": (0, 1)})
    assert type(finding.figures["x"]) is float
    with pytest.raises(TypeError):
        finding.figures["x"] = 2.0


def test_a_line_needs_equal_numbers_of_points_and_a_known_style():
    panel = Panel(title="", x="", y="", lines=(Line(label="a", x=np.arange(3), y=[1, 2, 3]),))
    assert panel.lines[0].x == (0.0, 1.0, 2.0)
    with pytest.raises(ValueError, match="unequal"):
        Line(label="a", x=(1.0,), y=())
    with pytest.raises(ValueError, match="unequal"):
        Line(label="a", x=(1.0,), y=(1.0,), style="band")
    with pytest.raises(ValueError, match="style"):
        Line(label="a", x=(1.0,), y=(1.0,), style="dots")
