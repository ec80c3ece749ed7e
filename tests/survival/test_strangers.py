"""Studies, spaces and schedules from untrusted sources: nothing in them is executed."""

import ast
import json
import runpy
from pathlib import Path

import pytest

import lrsearch
from lrsearch import api
from lrsearch.cli import main
from lrsearch.errors import RequestError
from tests.doubles import Bowl, search
from tests.survival.hostile import sealed, unsealed

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
    """Change the records of a journal, and give it valid checksums."""
    path.write_bytes(sealed(map(change, unsealed(path.read_bytes()))))


def everywhere(record, old, new):
    """Return a record with every value of an attribute of that name replaced."""
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
        for command in ("show s", "status s", "compare s", "export s --to torch -o out.py"):
            assert main([*command.split(), *(["--storage", str(path)])]) in (0, 2)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        assert "\x1b" not in shown.out + shown.err
        if (here / "out.py").exists():
            runpy.run_path("out.py")
            (here / "out.py").unlink()
        assert not (here / MARK).exists()


def test_a_study_cannot_name_the_code_that_compares_it(here, capsys):
    path = here / "lrsearch-studies" / "s.journal"
    path.parent.mkdir()
    search(Bowl(), path.parent, trials=3)
    (path.parent / "x.journal").rename(path)
    rewrite(path, lambda record: everywhere(record, "objective", "evil.py:objective"))
    assert main(["compare", "s"]) == 2
    assert "used your own objective evil.py:objective; name it" in capsys.readouterr().err
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


def test_a_hostile_description_of_a_space_stays_text(here, capsys):
    (here / "x.yaml").write_text(f"about: {json.dumps(HOSTILE[0])}\npeak: 0.1\n")
    words = ["tune", "quadratic", "--space", "x.yaml", "--trials", "1", "--tracking-uri", "none"]
    assert main(words) == 0
    assert not (here / MARK).exists()


def test_a_hostile_value_in_the_report_is_escaped(here):
    search(Bowl(), here, trials=3)
    rewrite(here / "x.journal", lambda record: everywhere(record, "unit", HOSTILE[7]))
    assert main(["show", "s", "--storage", "x.journal", "--html", "report.html"]) == 0
    page = (here / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "~/x", "x\x00", "con:x", ""])
def test_a_path_is_not_a_valid_name_of_a_study(here, name):
    with pytest.raises(RequestError, match="is not a valid name"):
        api.load(name)
    with pytest.raises(RequestError, match="is not a valid name"):
        lrsearch.tune("quadratic", study=name, tracking_uri="none", trials=1, compare=False)
    assert sorted(p.name for p in here.iterdir()) == ["evil.py"]


FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def test_the_package_neither_uses_pickle_nor_evaluates_text():
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


def broken(record, code, change):
    """Return a record, changed if its operation has that code."""
    return change(record) if record.get("op_code") == code else record


WRONG = {
    "no study_id": (2, lambda r: {k: v for k, v in r.items() if k != "study_id"}),
    "a study_id that is a list": (2, lambda r: {**r, "study_id": [0]}),
    "an attribute that is a list": (2, lambda r: {**r, "user_attr": {"lrsearch": [1]}}),
    "a number for attributes": (8, lambda r: {**r, "user_attr": 7}),
    "a list for a trial": (8, lambda r: {**r, "user_attr": {"lrsearch": [1]}}),
    "a worker that is a number": (
        2,
        lambda r: {**r, "user_attr": {"lrsearch.worker.0": 7}},
    ),
    "a leader that is a list": (2, lambda r: {**r, "user_attr": {"lrsearch.leader": [1]}}),
    "a huge index": (8, lambda r: everywhere(r, "index", 10**12)),
    "an index below 0": (8, lambda r: everywhere(r, "index", -1)),
    "a peak outside the space": (8, lambda r: everywhere(r, "schedule", {"peak": 123.0})),
    "a trial that another worker runs": (
        4,
        lambda r: {**r, "user_attrs": {"lrsearch.attempt": ALIEN}, "params": {}},
    ),
    "a trial at a point that no space contains": (
        4,
        lambda r: {**r, "user_attrs": {"lrsearch.attempt": {**ALIEN, "point": MARS}}},
    ),
}
MARS = {"peak": "red", "moons": 2}
ALIEN = {"index": 5, "worker": "nobody", "retry": 0, "point": {}}


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_records_with_valid_checksums_never_cause_a_traceback(here, capsys, wrong):
    code, change = WRONG[wrong]
    path = here / "lrsearch-studies" / "s.journal"
    path.parent.mkdir()
    search(Bowl(), path.parent, trials=6, sampler="random")
    (path.parent / "x.journal").rename(path)
    rewrite(path, lambda record: broken(record, code, change))
    content = path.read_bytes()
    for command in (["show", "s"], ["status"], ["export", "s", "--to", "csv", "-o", "x.csv"]):
        assert main(command) in (0, 2)
    path.write_bytes(content[:-20] + b"#" * 20 + content[-20:])  # damage for repair
    assert main(["repair", "s"]) in (0, 2)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    path.write_bytes(content)
    path.rename(path.parent / "x.journal")
    try:
        search(Bowl(), path.parent, trials=8, sampler="random")
    except RequestError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


def test_a_file_name_with_terminal_escape_codes_is_not_shown(here, capsys):
    (here / "lrsearch-studies").mkdir()
    (here / "lrsearch-studies" / "\x1b[31mred.journal").touch()
    assert main(["status"]) == 0
    assert main(["doctor", "--tracking-uri", "none"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_several_studies_in_one_journal_are_each_shown(here, capsys):
    words = ["tune", "quadratic", "--tracking-uri", "none", "--trials", "2", "--no-compare"]
    for study in ("one", "two"):
        where = ["--storage", "lrsearch-studies/all.journal", "--study", study, "--quiet"]
        assert main([*words, *where]) == 0
    capsys.readouterr()
    assert main(["status"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("study", "one", "two")
    ]
    assert main(["repair", "all", "--storage", "lrsearch-studies/all.journal"]) == 2
    assert "has records of one, two" in capsys.readouterr().err
