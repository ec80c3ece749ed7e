import ast
import inspect
import logging
import re
import subprocess
import sys
from dataclasses import fields

import pytest

from lrsearch import Command, api
from lrsearch.cli import cli
from lrsearch.cli.wording import OptionFormatter, as_options
from lrsearch.workers.workforce import Workforce
from tests.test_language import SOURCES, Text, strings_in

#: Arguments of the library that have no option of the same name.
RENAMED = {"settings", "options", "compare"}
#: Arguments of other functions that are options too: of exports, `serve` and `Workforce`.
EXPORTED = {"ignore_batch", "ignore_momentum", "port"} | {f.name for f in fields(Workforce)}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("choose another `study=`", "choose another --study"),
        ('give `device="cpu"`', "give --device cpu"),
        ("allow more with `max_failures=`.", "allow more with --max-failures."),
        ('`settings={"peak": {"low": LOW, "high": HIGH}}`', "--set peak=LOW..HIGH"),
        ('`settings={"momentum": 0.9}`', "--set momentum=0.9"),
        ('`options={"data": FOLDER}`', "--with data=FOLDER"),
        ("`options=`", "--with"),
        ("leave it out with `compare=False`", "leave it out with --no-compare"),
        ("run `lrsearch repair digits`", "run `lrsearch repair digits`"),
        ("no argument: `x`, `a == b`, a=1", "no argument: `x`, `a == b`, a=1"),
    ],
)
def test_arguments_become_options(message, expected):
    assert as_options(message) == expected


def test_log_lines_speak_of_options_too():
    record = logging.LogRecord("lrsearch", logging.WARNING, "", 0, "see `slots=`", (), None)
    assert OptionFormatter("lrsearch: %(message)s").format(record) == "lrsearch: see --slots"


def messages() -> list[Text]:
    """Strings of the library, without those of the command line and without docstrings."""
    pieces = []
    for source in SOURCES:
        if "examples" in source.parts or "cli" in source.parts:
            continue
        tree = ast.parse(source.read_text(encoding="utf-8"))
        docstrings = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if has_body(n)}
        pieces += [piece for piece in strings_in(source) if piece.text not in docstrings]
    return pieces


def has_body(node: ast.AST) -> bool:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)


def test_every_argument_that_a_message_names_exists_as_an_argument_and_as_an_option():
    arguments = {n for f in (api.tune, api.compare) for n in inspect.signature(f).parameters}
    arguments |= {field.name for field in fields(Command)}
    options = {p.name for c in cli.commands.values() for p in c.params}
    named = {
        (name, place)
        for place, text in messages()
        for name in re.findall(r"`([a-z_]+)=[^`]*`", text)
    }
    assert named
    unknown = [
        f"{place}: `{name}=`"
        for name, place in named
        if name not in arguments | EXPORTED or name not in options | RENAMED
    ]
    assert unknown == []


def test_messages_of_the_library_name_no_options():
    command = re.compile(r"lrsearch (tune|compare|show|export|repair|sync|ui)\b|ray start|^ ?--")
    wrong = [
        f"{place}: {text}"
        for place, text in messages()
        if re.search(r"(?<![\w-])--[a-z]", text) and not command.search(text)
    ]
    assert wrong == []


def test_a_refusal_is_worded_for_where_it_is_read(capsys):
    from lrsearch.cli import main

    with pytest.raises(ValueError, match="`seeds=` is 0") as refused:
        api.tune("quadratic", seeds=0, tracking_uri="none", compare=False)
    assert main(["tune", "quadratic", "--seeds", "0"]) == 2
    assert capsys.readouterr().err.strip() == f"lrsearch: {as_options(str(refused.value))}"
    assert "--seeds is 0" in as_options(str(refused.value))


OWN_LOG = """
import logging
import lrsearch

logging.basicConfig(format="MINE %(message)s", level=logging.INFO)


@lrsearch.objective(peak=(1e-3, 1.0), steps=20)
def fit(run):
    logging.getLogger(__name__).info("from the user")
    logging.getLogger("lrsearch").warning("see `slots=`")
    return run.plan.lr[0]
"""


def test_the_users_log_is_not_printed_as_lrsearchs(tmp_path):
    (tmp_path / "own_log.py").write_text(OWN_LOG)
    command = [
        "tune",
        "own_log.py:fit",
        "--trials",
        "1",
        "--tracking-uri",
        "none",
        "--no-compare",
        "--quiet",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "lrsearch", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr.splitlines() == ["MINE from the user", "lrsearch: see --slots"]
