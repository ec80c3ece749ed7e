"""What people read here is plain technical English, in the words of the field.

A word list cannot make prose clear, but the words below came back whenever a sentence was unclear.
Each has the word to use instead. Technical uses are allowed one by one, with the reason.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from lrsearch.cli import cli

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("lrsearch/**/*.py"), *ROOT.glob("examples/*.py")])
PAGES = [
    *[ROOT / name for name in ("README.md", "CHANGELOG.md", "lrsearch/ARCHITECTURE.md")],
    *sorted(ROOT.glob("search_spaces/*.yaml")),
    *sorted(ROOT.glob("examples/*.sbatch")),
]

#: Words that made sentences unclear, and what to write instead.
WORDS = {
    r"hangs? (up)?on|hanging on|on which .{1,40}\bhangs?": "depend on",
    r"(is|was|are|were|been|be|when) founded|founds|founder|founding|found a study": "create",
    r"(hold|holds|held|holding)\b[^.;:]{0,60}\bagainst|hold beside": "compare with",
    r"mend(s|ed|ing)?|amiss": "fix, fixed",
    r"(give|gives|gave|giving|given)\b[^.;:]{0,30}\bback": "release, return",
    r"under way": "running",
    r"(is|are|was|were|be|been) told|tells? (it|them|him|her)": "is given, reports",
    r"(is|are|be|was|were) at (it|a trial|work)|who is at": "run, the process that runs it",
    r"who|whom": "that",
    r"dear|dearer|dearest": "expensive",
    r"so (many|often)|so long(?! as)": "N",
    r"as (many|much|often|long)(?! (\w+ )?as)": "the same number",
    r"the bill|bills?": "cost estimate",
    r"habit(s|ual|ually)?": "default schedule, current schedule",
    r"minus it": "difference (searched - baseline)",
    r"goes? on|going on|went on|gone on": "continue",
    r"what answers|who answers|code of (yours|theirs|one's)|of yours|of theirs": "the objective",
    r"of another request": "created with different settings",
    r"(is|are) none of|none of lrsearch's": "not written by lrsearch",
    r"(?<!there )(is|are) no (?!longer|more|less)[a-z]+": "is not a",
    r"as (it|they) (stands?|must be|should be)": "current; failed check",
    r"in vain|by then|for good|without a word|naught": "(drop)",
    r"luckiest|lucky": "best single trial (partly luck)",
    r"LR-ref": "the reference least-squares problem",
    r"house|rooms?|front door": "package, module, layer, public API",
    r"stor(y|ies)|riddles?": "example",
    r"hence|thereof|therein|whereof|whereby|wherein|behold": "(plain words)",
    r"finds? out|made out|found out": "detect, detected",
    r"(is|are|was|were|be|being) away|lets? go|let go": "unreachable, released",
    r"deceives?|sound (journal|part|record)|what is sound": "intact",
    r"nobody|no one|somebody|someone else": "no process, another process",
}

#: Uses that are technical or quoted: a pattern for the words around, with the reason.
ALLOWED = {
    r"\b(people|users?|readers?|engineers?|anyone|those) who\b": "persons",
    r"`room`|\broom:|\"room\"|^room$": "the argument of `Runs.take`, and its message",
    r"\bhabit(_peak)?(=|`|\(\))": "a name of an earlier version, in the changelog",
}

FORBIDDEN = {words: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for words in WORDS}

#: A function's docstring says what it does, beginning with the verb.
NOT_A_VERB = re.compile(
    r"(?:the|an?|what|whether|as|how|where|when|which|who|why|while|one|two|every|each|all|both|"
    r"no|none|some|any|it|its|this|that|these|those|there|such|of|in|at|on|by|for|from|to|with|"
    r"after|before|until|unless|if|and|or|unknown|name|names|numbers|parameters|seconds|[a-z]+ing|"
    r"[a-z]*(?:ed|[^sau]s|ly))\b",
    re.IGNORECASE,
)
VERBS_OF_THAT_FORM = re.compile(
    r"(?:name|bring|feed|read|embed|need|speed|process|pass|press|apply)\b", re.I
)


class Text(NamedTuple):
    """A piece of text that people read, and where it stands."""

    place: str
    text: str


def said_in(source: Path) -> Iterator[Text]:
    """Docstrings, other strings and comments of a module."""
    yield from strings_in(source)
    where = source.relative_to(ROOT).as_posix()
    for block, line in comments(source):
        yield Text(f"{where}:{line}", block)


def strings_in(source: Path) -> Iterator[Text]:
    """Docstrings and other strings of a module."""
    where = source.relative_to(ROOT).as_posix()
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield Text(f"{where}:{node.lineno}", "".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(f"{where}:{node.lineno}", node.value)


def comments(source: Path) -> Iterator[tuple[str, int]]:
    """Comments, adjacent lines joined, each with its first line's number."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source.read_text("utf-8")).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != last + 1:
            yield " ".join(block), first
            block = []
        first, last = (first if block else line), line
        block.append(token.string.lstrip("#: "))
    if block:
        yield " ".join(block), first


def help_texts(command: click.Command, path: str) -> Iterator[Text]:
    """The help of a command, of its options and of its subcommands."""
    with click.Context(command, info_name=path) as context:
        yield Text(f"`{path} --help`", command.get_help(context))
    for name, child in getattr(command, "commands", {}).items():
        yield from help_texts(child, f"{path} {name}")


def faults(pieces: list[Text]) -> list[str]:
    """Every word to avoid that the pieces hold, with the word to use."""
    found = []
    for place, raw in pieces:
        text = " ".join(raw.split())
        for words, pattern in FORBIDDEN.items():
            for match in pattern.finditer(text):
                around = text[max(0, match.start() - 40) : match.end() + 40]
                if not any(re.search(allowed, around) for allowed in ALLOWED):
                    found.append(f"{place}: “{around}”: instead of “{match[0]}”: {WORDS[words]}")
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_strings_docstrings_and_comments_use_plain_words(source):
    assert faults(list(said_in(source))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_use_plain_words(page):
    assert faults([Text(page.name, page.read_text(encoding="utf-8"))]) == []


def test_help_texts_use_plain_words():
    assert faults(list(help_texts(cli, "lrsearch"))) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_docstrings_of_functions_begin_with_a_verb(source):
    nouns = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef) or is_property(node):
            continue
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        if first and NOT_A_VERB.match(first) and not VERBS_OF_THAT_FORM.match(first):
            nouns.append(f"{source.name}:{node.lineno} {node.name}: {first}")
    assert nouns == []


def is_property(function: ast.FunctionDef) -> bool:
    names = {ast.unparse(d).rpartition(".")[2] for d in function.decorator_list}
    return bool(names & {"property", "cached_property"})


def test_each_technical_use_that_is_allowed_occurs():
    pieces = [piece for source in SOURCES for piece in said_in(source)]
    pieces += [Text(page.name, page.read_text(encoding="utf-8")) for page in PAGES]
    texts = [" ".join(text.split()) for _, text in pieces]
    assert [use for use in ALLOWED if not any(re.search(use, text) for text in texts)] == []


def test_names_of_tests_use_plain_words():
    names = [
        Text(source.name, node.name.replace("_", " "))
        for source in sorted(ROOT.glob("tests/**/test_*.py"))
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert faults(names) == []
