"""`Answer`: the texts and tables of a study's result, shown in the terminal, HTML and MLflow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lrsearch.comparison import Comparison
from lrsearch.comparison_tables import comparison_remarks, comparison_rows, secondary_rows
from lrsearch.hints import edge_hints, progress_hints
from lrsearch.objectives.placeholders import CARRIERS, FILES
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.study.location import storage_option

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The texts and tables of a study's result.

    Attributes:
        sentence: the recommendation as a sentence.
        rows: table of the comparison, header first; empty without a comparison.
        how: how the comparison was done, one line; empty without a comparison.
        remarks: further sentences about the comparison and the search.
        secondary: table of medians and bootstrap intervals, header first; empty for exact
            objectives.
        luck: the best single value of the search; empty without a comparison.
        counts: number of trials by state, as text.
        schedule: the recommended schedule.
        export: the command that writes this schedule to a file.
    """

    sentence: str
    rows: Rows = ()
    how: str = ""
    remarks: tuple[str, ...] = ()
    secondary: Rows = ()
    luck: str = ""
    counts: str
    schedule: Schedule
    export: str


def answer_of(result: Result) -> Answer:
    """Return the answer of a study.

    Raises:
        NothingFinished: no trial finished.
    """
    best, found, chosen = result.best, result.comparison, result.recommended
    storage = storage_option(result.study, result.storage)
    answer = Answer(
        sentence=chosen.sentence,
        counts=", ".join(f"{n} {state}" for state, n in result.counts.items() if n),
        schedule=chosen.schedule,
        remarks=(*edge_hints(result), *progress_hints(result)),
        export=f"lrsearch export {result.study}{storage} --to {_form(result.command)}",
    )
    if found is None:
        return answer
    return dataclasses.replace(
        answer,
        rows=tuple(comparison_rows(found)),
        how=_how(found),
        remarks=(*comparison_remarks(found), *answer.remarks),
        secondary=() if found.exact else tuple(secondary_rows(found)),
        luck=f"Best single trial (partly luck): {best.value:.4g} {result.unit} "
        f"(trial {best.index} of {len(result.trials)}).",
    )


def _form(command: str) -> str:
    """Return the format and the file that put a schedule back where it came from.

    Args:
        command: the command line of a study; empty for another objective.
    """
    if not command:
        return "torch -o schedule.py"
    if any(f"{{{name}}}" in command for name in FILES):
        return "csv -o schedule.csv"
    numbers = any(f"{{{name}}}" in command for name in CARRIERS)
    return "flags" if numbers else "python -o schedule.py"


def rounded_fields(schedule: Schedule) -> list[tuple[str, str]]:
    """Return the fields that differ from their defaults, with four significant digits."""
    return [
        (name, f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in schedule.to_dict(defaults=False).items()
    ]


def _how(found: Comparison) -> str:
    seeds = "exact values" if found.exact else f"{found.seeds} fresh seeds"
    contenders = found.contenders.items()
    tuned = [name for name, each in contenders if len(each.peaks) > 1]
    if not tuned:
        return f"*: recommended; {seeds}; no peak was tuned"
    own = [name for name, _ in contenders if name not in tuned]
    untuned = f" (but {' and '.join(own)})" if own else ""
    best = f"; searched: the best of {found.candidates} candidates" * (found.candidates > 1)
    beside = ""
    if found.unreported:
        beside = f"; also tuned, but worse on selection seeds: {', '.join(found.unreported)}"
    return f"*: recommended; {seeds}{best}; every peak{untuned} tuned{beside}"


def differing_fields(schedules: list[Schedule]) -> list[str]:
    """Return the names of the fields in which some schedules differ, in their order."""
    names = schedules[0].to_dict() if schedules else {}
    return [name for name in names if len({getattr(s, name) for s in schedules}) > 1]
