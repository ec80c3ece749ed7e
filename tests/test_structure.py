"""The layout of the package: unique names of modules and classes, fixed stored texts."""

import ast
import collections
import graphlib
from pathlib import Path

import pytest

import lrsearch
from lrsearch import seeding
from lrsearch.study import keys

PACKAGE = Path(lrsearch.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Modules whose names Python prescribes.
PYTHONS = ("__init__.py", "__main__.py")
#: Largest length of a module, in lines.
LONGEST = 350

#: Names under which a study is stored. Studies of earlier versions contain these texts.
STORED = {
    "SPEC": "lrsearch",
    "OPTIMUM": "lrsearch.optimum",
    "TRACKING": "lrsearch.tracking",
    "SLOTS": "lrsearch.slots",
    "QUEUE": "lrsearch.enqueued",
    "CURRENT": "lrsearch.current",
    "MEASURED": "lrsearch.measured",
    "COMPARISON": "lrsearch.confirmed",
    "BEGUN": "lrsearch.comparison_begun",
    "FACTS": "lrsearch.facts",
    "TOLD": "lrsearch.told",
    "WORKER": "lrsearch.worker.",
    "LEADER": "lrsearch.leader",
    "ENDED": "lrsearch",
    "RUNNING": "lrsearch.attempt",
    "LOST": "lrsearch.lost",
}
#: Purposes of random streams. Another text would give other random numbers.
PURPOSES = {
    "RUN": "run",
    "SELECT": "select",
    "REPORT": "report",
    "SAMPLER": "sampler",
    "POINT": "point",
    "SOBOL": "sobol",
    "DRAW": "draw",
    "ORDER": "order",
    "LANDSCAPE": "landscape",
    "LOOK": "look",
}


def shared(places):
    """Return the names that occur more than once, with their places."""
    return {name: where for name, where in places.items() if len(where) > 1}


def constants(module):
    """Return the constants of a module (names in capitals) and their values."""
    return {name: value for name, value in vars(module).items() if name.isupper()}


def test_no_two_modules_have_the_same_file_name():
    """The files of `lrsearch/cli` are exempt, because they are named after the commands."""
    places = collections.defaultdict(list)
    for path in MODULES:
        if path.parent != PACKAGE / "cli" and path.name not in PYTHONS:
            places[path.name].append(str(path.relative_to(PACKAGE)))
    assert len(places) > 50
    assert shared(places) == {}


def test_no_two_classes_have_the_same_name():
    places = collections.defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                where = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                places[node.name.lstrip("_")].append(where)
    assert len(places) > 50
    assert shared(places) == {}


def dotted(path):
    """Return the name by which a module is imported."""
    return ".".join(["lrsearch", *path.relative_to(PACKAGE).with_suffix("").parts])


def imported(path, names):
    """Yield the modules of the package that a module imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            whole = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            whole = [each.name for each in node.names]
        else:
            continue
        yield from names & set(whole)


def test_imports_have_no_cycle_even_within_functions():
    paths = {dotted(path): path for path in MODULES if path.name not in PYTHONS}
    imports = {name: set(imported(path, paths.keys())) for name, path in paths.items()}
    assert len(imports["lrsearch.api"]) > 5
    assert len(list(graphlib.TopologicalSorter(imports).static_order())) == len(paths)


@pytest.mark.parametrize(("module", "known"), [(keys, STORED), (seeding, PURPOSES)])
def test_stored_keys_and_purposes_of_streams_have_not_changed(module, known):
    assert constants(module) == known


def test_no_module_is_too_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert [str(p.relative_to(PACKAGE)) for p, n in lengths.items() if n > LONGEST] == []
