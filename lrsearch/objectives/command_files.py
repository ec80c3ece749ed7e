"""The files that the words of a command name: scripts, modules and configuration files."""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

#: Largest file that is read, in bytes; a larger one is hardly a script.
LARGEST = 2**20


def name_of(words: Sequence[str]) -> str:
    """Return the name of a command: the stem of its module or script, else of its program.

    It is the beginning of a study's name, so it has only characters that are allowed there.
    """
    modules = [word.rpartition(".")[2] for word in _modules(words) if not _launches(word)]
    plain = [word for word in words if not word.startswith("-") and "=" not in word]
    scripts = [Path(word).stem for word in plain if word.endswith(".py")]
    stem = [*modules, *scripts, Path(words[0]).stem][0]
    return re.sub(r"[^A-Za-z0-9.-]+", "_", stem).strip("_.-")[:60] or "command"


def _launches(module: str) -> bool:
    """Return True if a module starts another script, such as `torch.distributed.run`."""
    return module.partition(".")[0] in ("torch", "accelerate", "deepspeed")


def _modules(words: Sequence[str]) -> list[str]:
    """Return the words that follow `-m`."""
    return [after for before, after in itertools.pairwise(words) if before == "-m"]


def files_of(words: Sequence[str]) -> list[Path]:
    """Return the files that words name, such as `train.py`, `--config=small.yaml` or `-m train`.

    The program itself is one of them only if it is named by a path, such as `./train.sh`.
    """
    texts = [word.partition("=")[2] or word for word in words[0 if "/" in words[0] else 1 :]]
    for module in _modules(words):
        base = module.replace(".", "/")
        texts += [f"{base}.py", f"{base}/__main__.py"]
    found = []
    for text in dict.fromkeys(texts):
        path = Path(text)
        with suppress(OSError):  # a text that cannot be a path, a folder that cannot be read
            if path.is_file() and path.stat().st_size <= LARGEST:
                found.append(path)
    return found


def digests(words: Sequence[str]) -> dict[str, str]:
    """Return digests of the files that words name, by path."""
    found = {}
    for path in files_of(words):
        with suppress(OSError):
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return found


def mentions(words: Sequence[str], text: str) -> bool:
    """Return whether a file of a command contains a text."""
    for path in files_of(words):
        with suppress(OSError):
            if text.encode() in path.read_bytes():
                return True
    return False


def client_calls(words: Sequence[str]) -> set[str]:
    """Return the functions of `lrsearch.client` that the files of a command call.

    Only the text of these files is read, so a script that another one starts is not found.
    """
    found: set[str] = set()
    for path in files_of(words):
        with suppress(OSError, SyntaxError, ValueError):  # not a Python file
            found |= _calls(ast.parse(path.read_bytes()))
    return found


def _calls(tree: ast.Module) -> set[str]:
    """Return the functions of `lrsearch.client`, or of a copy of it, that a module calls."""
    modules, functions = _imports(tree)
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = {
        each.attr
        for each in called
        if isinstance(each, ast.Attribute) and ast.unparse(each.value) in modules
    }
    names = {each.id for each in called if isinstance(each, ast.Name)}
    return found | {functions[name] for name in functions.keys() & names}


def _imports(tree: ast.Module) -> tuple[set[str], dict[str, str]]:
    """Return the names of the client in a module, and of its functions with their own names."""
    modules, functions = {"lrsearch.client"}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            own = [each for each in node.names if each.name in ("client", "lrsearch.client")]
            modules |= {each.asname or each.name for each in own}
        elif isinstance(node, ast.ImportFrom):
            from_client = (node.module or "").rpartition(".")[2] == "client"
            for each in node.names:
                if from_client:
                    functions[each.asname or each.name] = each.name
                elif each.name == "client":
                    modules.add(each.asname or each.name)
    return modules, functions
