"""Records in a form that MLflow accepts: names of metrics, and text that a database can store."""

from __future__ import annotations

import posixpath
import re
from typing import Any

#: Characters that MLflow does not allow in the name of a metric.
REFUSED = re.compile(r"[^\w.\- /]")


def metric_name(name: str) -> str:
    """Return a name that MLflow accepts, with `_` for what it refuses."""
    name = REFUSED.sub("_", name)
    path = posixpath.normpath(name)
    if path != name or path.startswith((".", "/")):
        name = name.replace("/", "_")
        name = f"_{name[1:]}" if name.startswith(".") else name
    return name or "_"


def valid_text(text: str) -> str:
    """Return a text without NUL and without halves of characters, which databases refuse."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def code_block(text: str) -> str:
    """Return a text as a block of code in Markdown, which no backticks of the text can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def valid_record(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a record that MLflow accepts, and the new names of the metrics that have one.

    Two metrics of one record keep different names.

    Args:
        record: a record with any of `name`, `tags`, `params` and `metrics`.
    """
    record = dict(record)
    for field in ("tags", "params"):
        if field in record:
            record[field] = {name: valid_text(text) for name, text in record[field].items()}
    if "name" in record:
        record["name"] = valid_text(record["name"])
    names: dict[str, str] = {}
    known = {name for name, _, _ in record.get("metrics", ())}
    for name in sorted(known):
        new = metric_name(name)
        while new != name and (new in known or new in names.values()):
            new += "_"
        names[name] = new
    if "metrics" in record:
        record["metrics"] = [(names[name], step, x) for name, step, x in record["metrics"]]
    return record, {old: new for old, new in names.items() if old != new}
