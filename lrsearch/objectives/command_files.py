"""The files that the words of a command name: scripts, modules and configuration files."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

#: Largest file that is read, in bytes; a larger one is hardly a script.
LARGEST = 2**20


def name_of(words: Sequence[str]) -> str:
    """Return the name of a command: the stem of its script or module, else of its program."""
    scripts = [Path(word).stem for word in words if word.endswith(".py")]
    modules = [word.rpartition(".")[2] for word in _modules(words)]
    stem = [*scripts, *modules, Path(words[0]).stem][0]
    return re.sub(r"[^\w.-]", "_", stem) or "command"


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


def calls_client(words: Sequence[str], function: str) -> bool:
    """Return whether a file of a command calls a function of `lrsearch.client`.

    Only the text of these files is read, so a script that another one starts is not found.

    Args:
        words: words of the command.
        function: name of the function.
    """
    call = re.compile(rf"\b{function}\s*\(")
    for path in files_of(words):
        with suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            if re.search(
                r"\bimport\b.*\bclient\b|\blrsearch\.client\b|\bclient\b.*\bimport\b", text
            ):
                return call.search(text) is not None
    return False
