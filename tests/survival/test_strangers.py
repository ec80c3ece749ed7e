"""Studies, spaces and schedules from strangers: nothing in them is ever run."""

import ast
import json
import runpy
from pathlib import Path

import pytest

import lrsearch
from lrsearch import api
from lrsearch.cli import main
from lrsearch.engine.journal import NOTHING, Line, lines_of
from lrsearch.errors import RequestError
from tests.doubles import Bowl, search

MARK = "touched"
HOSTILE = [
    "__import__('pathlib').Path('touched').touch()",
    "!!python/object/apply:pathlib.Path.touch [touched]",
    "cos\nsystem\n(S'touch touched'\ntR.",
    "evil.py:objective",
    "{{ ''.__class__.__mro__ }}",
    "$(touch touched)",
    "../../../../touched",
    "<script>alert(1)</script>",
    "[red]x[/red]\x1b]0;owned\x07",
]

EVIL = "from pathlib import Path; Path('touched').touch()\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    return tmp_path


def rewrite(path, change):
    """A journal whose records were changed by somebody who made its sums right."""
    text, last = b"", NOTHING
    for raw in lines_of(path.read_bytes()):
        record = Line(raw).record()
        del record["after"]
        line, last = Line.write(change(record), last)
        text += line
    path.write_bytes(text)


def everywhere(record, old, new):
    """A record with every value of an attribute of that name replaced."""
    if isinstance(record, dict):
        return {k: new if k == old else everywhere(v, old, new) for k, v in record.items()}
    if isinstance(record, list):
        return [everywhere(item, old, new) for item in record]
    return record


@pytest.mark.parametrize("field", ["objective", "unit", "reason", "details", "options", "decay"])
def test_a_hostile_attribute_of_a_study_is_text_or_refused(here, capsys, field):
    path = here / "lrsearch-studies" / "x.journal"
    path.parent.mkdir()
    search(Bowl(limit=0.1), path.parent, trials=4, sampler="random")
    sound = path.read_bytes()
    for text in HOSTILE:
        path.write_bytes(sound)
        rewrite(path, lambda record, text=text: everywhere(record, field, text))
        for command in ("show s", "status s", "confirm s", "export s --to torch -o out.py"):
            assert main([*command.split(), *(["--storage", str(path)])]) in (0, 2)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        assert "\x1b" not in shown.out + shown.err
        if (here / "out.py").exists():
            runpy.run_path("out.py")
            (here / "out.py").unlink()
        assert not (here / MARK).exists()


def test_a_study_cannot_name_the_code_that_confirms_it(here, capsys):
    path = here / "lrsearch-studies" / "s.journal"
    path.parent.mkdir()
    search(Bowl(), path.parent, trials=3)
    (path.parent / "x.journal").rename(path)
    rewrite(path, lambda record: everywhere(record, "objective", "evil.py:objective"))
    assert main(["confirm", "s"]) == 2
    assert "is code of yours; name it" in capsys.readouterr().err
    assert not (here / MARK).exists()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_space_or_schedule_is_refused(here, capsys, text):
    (here / "x.yaml").write_text(f"decay: {json.dumps(text)}\n")
    (here / "y.yaml").write_text(f"decay: {text}\n")
    (here / "x.json").write_text(json.dumps({"peak": 0.1, "decay": text}))
    for command in (
        "tune quadratic --space x.yaml",
        "tune quadratic --space y.yaml",
        "show x.json",
    ):
        assert main(command.split()) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (here / MARK).exists()


def test_a_hostile_about_of_a_space_stays_text(here, capsys):
    (here / "x.yaml").write_text(f"about: {json.dumps(HOSTILE[0])}\npeak: 0.1\n")
    words = ["tune", "quadratic", "--space", "x.yaml", "--trials", "1", "--tracking-uri", "none"]
    assert main(words) == 0
    assert not (here / MARK).exists()


def test_a_hostile_value_in_the_report_is_escaped(here):
    search(Bowl(), here, trials=3)
    rewrite(here / "x.journal", lambda record: everywhere(record, "unit", HOSTILE[7]))
    assert main(["show", "s", "--storage", "x.journal", "--html", "report.html"]) == 0
    assert "<script>alert(1)" not in (here / "report.html").read_text()


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "~/x", "x\x00", "con:x", ""])
def test_the_name_of_a_study_is_no_path(here, name):
    with pytest.raises(RequestError, match="no safe name"):
        api.load(name)
    with pytest.raises(RequestError, match="no safe name"):
        lrsearch.tune("quadratic", study=name, tracking_uri="none", trials=1)
    assert sorted(p.name for p in here.iterdir()) == ["evil.py"]


FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def test_no_line_of_the_package_reads_or_writes_pickle_or_evaluates_text():
    found = []
    for path in Path(lrsearch.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN]
            elif isinstance(node, ast.ImportFrom):
                found += [node.module] if (node.module or "").split(".")[0] in FORBIDDEN else []
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                found += [called] if called in ("eval", "exec", "torch.load", "yaml.load") else []
    assert found == []
