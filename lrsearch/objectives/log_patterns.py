"""Patterns that read numbers from the output of a command, such as `iter {t}: loss {loss}`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lrsearch.errors import RequestError

#: A number as programs print it, with thousands separators, `nan` and `inf`. Quantifiers are
#: possessive, so that a line costs no more than its length.
NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3})++(?:\.\d++)?|\d[\d_]*+\.?\d*+(?:[eE][-+]?\d++)?|"
    r"\.\d++(?:[eE][-+]?\d++)?|(?:nan|inf(?:inity)?)(?!\w))"
)
#: An index of at most 18 digits, with thousands separators.
INDEX = r"\d{1,18}(?!\d)(?:[,_]\d{3}(?!\d)){0,5}"
#: What a placeholder matches, by name. `{}` is any text.
PLACEHOLDERS = {"t": INDEX, "loss": NUMBER, "value": NUMBER}
#: Codes of a terminal, such as colours, which are removed before a line is read.
COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

_NAME = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class LogPattern:
    """A pattern for the lines of an output.

    Text matches itself, except that blanks match any blanks. `{t}` matches an index of a step,
    `{loss}` and `{value}` match a number, which may be in quotes, and `{}` matches any text.

    Attributes:
        text: the pattern.
        names: the placeholders that it must have, each once.

    Raises:
        RequestError: a placeholder is missing, repeated or unknown.

    Example:
        >>> from lrsearch.objectives.log_patterns import LogPattern
        >>> pattern = LogPattern("iter {t}: loss {loss}", ("t", "loss"))
        >>> pattern.read("iter 1,200:  loss 2.5e-1, time 3 ms")
        {'t': 1200.0, 'loss': 0.25}
        >>> pattern.read("done") is None
        True
    """

    text: str
    names: tuple[str, ...]
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = _NAME.findall(self.text)
        wanted = " and ".join(f"{{{name}}}" for name in self.names)
        if sorted(found) != sorted(self.names):
            raise RequestError(
                f"pattern {self.text!r} has the placeholders {found}; give {wanted}, each once, "
                "and {} for any other text that changes"
            )
        pieces = [_piece(text, self.names) for text in self.text.split("{}")]
        first, *rest = pieces
        # Each piece is found where it first follows the one before, which is never tried again.
        regex = first + "".join(f"(?>.*?{piece})" for piece in rest)
        object.__setattr__(self, "_regex", re.compile(regex, re.IGNORECASE))

    def read(self, line: str) -> dict[str, float] | None:
        """Return the numbers of the last match in a line, by name, or None."""
        matches = list(self._regex.finditer(COLOURS.sub("", line)))
        if not matches:
            return None
        return {name: _number(matches[-1][name]) for name in self.names}


def _piece(text: str, names: tuple[str, ...]) -> str:
    """Return a regular expression for a part of a pattern without `{}`."""
    parts, end = [], 0
    for match in _NAME.finditer(text):
        parts.append(_literal(text[end : match.start()]))
        # A number is not read from within a word or another number.
        start = "(?<![\\w.])" if match.start() == 0 else ""
        parts.append(f"['\"]?{start}(?P<{match[1]}>{PLACEHOLDERS[match[1]]})")
        end = match.end()
    parts.append(_literal(text[end:]))
    # A number is read to its end: `loss 1` is found neither in `loss 1x5` nor in `loss 1,5`.
    number = text.rstrip().endswith(tuple(f"{{{name}}}" for name in names))
    return "".join(parts) + (r"(?![A-Za-z_.]*+\d)(?!,\d)" if number else "")


def _literal(text: str) -> str:
    """Return a regular expression for a text in which blanks match any blanks."""
    return r"\s+".join(re.escape(part) for part in re.split(r"\s+", text))


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))
