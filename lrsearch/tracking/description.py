"""The parent run's description, in markdown: what was found, is it better, what to type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lrsearch.contract import StudyFacts
from lrsearch.result import Result

__all__ = ["describe"]

#: MLflow keeps no more of a description.
LIMIT = 8_000


def describe(facts: StudyFacts, result: Result) -> str:
    """The sentence, the table, the winner's parameters, the commands; under MLflow's limit.

    Raises:
        NothingFinished: there is nothing to describe.
    """
    best, found = result.best, result.comparison
    parts = []
    if found is None:
        parts.append(
            f"**Best of {len(result.trials)} trials: {best.value:.6g} {result.unit}** (trial "
            f"{best.index}; selected, not compared)"
        )
    else:
        how = "exact" if found.exact else f"{found.seeds} fresh seeds"
        remarks = "\n".join(f"- {remark}" for remark in found.remarks)
        parts += [f"**{found.sentence}**", _table(found.rows)]
        parts.append(f"({how}; every peak tuned on the same grid; * the best baseline)")
        parts += [remarks] if remarks else []
        parts.append(
            f"Best value of the search, the luckiest of {len(result.trials)}: {best.value:.6g} "
            f"{result.unit} (trial {best.index})."
        )
    fields = result.chosen.to_dict(defaults=False)
    parts.append(_table([("field", "value"), *((n, f"{v}") for n, v in fields.items())]))
    parts.append("Export, and reproduce with the artifact `space.yaml`:")
    parts.append("```\n" + "\n".join(_commands(facts, result)) + "\n```")
    text = "\n\n".join(parts)
    return text if len(text) <= LIMIT else text[: LIMIT - 2].rpartition("\n")[0] + "\n…"


def _commands(facts: StudyFacts, result: Result) -> list[str]:
    chosen = " --compared" if result.comparison is not None else ""
    asked = {
        "trials": len(result.trials),
        "steps": facts.steps,
        "batch": facts.batch,
        "seeds": facts.seeds,
        "seed": facts.seed,
        "sampler": facts.sampler,
        "pruner": facts.pruner,
    }
    options = [f"--{name} {value}" for name, value in asked.items() if value != ""]
    options += [f"--with {shlex.quote(f'{n}={v}')}" for n, v in facts.options.items()]
    return [
        f"lrsearch export {facts.study}{chosen} --to torch -o schedule.py",
        f"lrsearch tune {facts.objective} --space space.yaml {' '.join(options)}",
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table in the dialect of MLflow's page, which wants the outer bars."""
    head, *body = [[cell.replace("|", "/") or " " for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
