"""The public names, their examples, and the import time of the package."""

import doctest
import subprocess
import sys

import pytest

import lrsearch
from lrsearch.errors import LrsearchError, NothingFinished, RequestError, SearchFailed

NAMES = [
    *(
        "Budget",
        "Choices",
        "Command",
        "Comparison",
        "Outcome",
        "Plan",
        "Range",
        "Result",
        "Run",
        "Schedule",
        "Space",
        "TorchTask",
    ),
    *(
        "Trial",
        "Workforce",
        "__version__",
        "compare",
        "export",
        "load",
        "objective",
        "plot",
        "tune",
    ),
]


def test_the_public_names_are_fixed():
    assert lrsearch.__all__ == NAMES
    assert dir(lrsearch) == NAMES
    for name in NAMES:
        found = getattr(lrsearch, name)
        assert getattr(found, "__name__", name).removeprefix("lrsearch.") == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_public_name_has_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = getattr(lrsearch, name).__doc__
    found = doctest.DocTestParser().get_doctest(text, {"lrsearch": lrsearch}, name, None, 0)
    assert found.examples, f"{name} has no example"
    report: list[str] = []
    options = doctest.NORMALIZE_WHITESPACE
    done = doctest.DocTestRunner(optionflags=options).run(found, out=report.append)
    assert done.failed == 0, "".join(report)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(lrsearch, "nonsense")


def test_importing_lrsearch_loads_no_heavy_library():
    code = (
        "import sys, lrsearch; lrsearch.Schedule(peak=.1).plan(10); lrsearch.Space; lrsearch.tune;"
        "print([m for m in ('torch', 'optuna', 'mlflow', 'sklearn', 'matplotlib', 'scipy.stats')"
        " if m in sys.modules])"
    )
    words = {"capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([sys.executable, "-c", code], **words, check=True)
    assert done.stdout == "[]\n"


def test_each_error_has_its_exit_code():
    assert LrsearchError.exit_code == SearchFailed.exit_code == 1
    assert RequestError.exit_code == 2
    assert NothingFinished.exit_code == 3
