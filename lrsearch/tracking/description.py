"""The parent run's description, in markdown: what was found, is it better, what to type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lrsearch.answer import answer_of
from lrsearch.result import Result
from lrsearch.tracking.tracker import StudyFacts, tracked_settings

#: MLflow keeps no more of a description.
LIMIT = 8_000


def describe(facts: StudyFacts, result: Result) -> str:
    """The sentence, the table, the winner's parameters, the commands; under MLflow's limit.

    Raises:
        NothingFinished: there is nothing to describe.
    """
    answer = answer_of(result)
    parts = [f"**{answer.sentence}**"]
    if answer.rows:
        parts += [_table(answer.rows), f"({answer.how})"]
        parts += ["\n".join(f"- {remark}" for remark in answer.remarks)] if answer.remarks else []
        parts.append(answer.luck)
    fields = answer.schedule.to_dict(defaults=False)
    parts.append(_table([("field", "value"), *((n, f"{v}") for n, v in fields.items())]))
    parts.append("Export, and reproduce with the artifact `space.yaml`:")
    parts.append(f"```\n{answer.export}\n{_command(facts, result)}\n```")
    text = "\n\n".join(parts)
    return text if len(text) <= LIMIT else text[: LIMIT - 2].rpartition("\n")[0] + "\n…"


def _command(facts: StudyFacts, result: Result) -> str:
    """The command that searches the same study again."""
    asked = {"trials": len(result.trials), **tracked_settings(facts)}
    options = [f"--{name} {value}" for name, value in asked.items()]
    options += [f"--with {shlex.quote(f'{n}={v}')}" for n, v in facts.spec.options.items()]
    return f"lrsearch tune {facts.spec.objective} --space space.yaml {' '.join(options)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table in the dialect of MLflow's page, which wants the outer bars."""
    head, *body = [[cell.replace("|", "/") or " " for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
