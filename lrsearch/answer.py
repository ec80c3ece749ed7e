"""`Answer`: what a study found, as one value that a terminal, a page and MLflow lay out."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.comparison import Comparison
from lrsearch.result import Result
from lrsearch.schedule import Schedule

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a study found.

    Attributes:
        sentence: is it better; of a study without a comparison its best value.
        rows: the comparison, a head first; empty where there is none.
        how: how it was made, one line; empty likewise.
        remarks: what a reader should know beside the sentence.
        secondary: medians and bootstrap intervals, a head first; empty of exact objectives.
        luck: the best value of the search, and what it is worth; empty without a comparison.
        counts: how many trials ended how.
        schedule: what the study stands for.
        export: the command that writes it to a file.
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
        NothingFinished: there is nothing to say.
    """
    best, found, trials = result.best, result.comparison, len(result.trials)
    usual = result.storage.endswith(f"/{result.study}.journal")
    storage = "" if usual else f" --storage {result.storage}"
    common = {
        "counts": ", ".join(f"{n} {state}" for state, n in result.counts.items() if n),
        "schedule": result.chosen,
    }
    if found is None:
        return Answer(
            sentence=f"Best of {trials} trials: {best.value:.6g} {result.unit} (trial "
            f"{best.index}; selected, not compared).",
            export=f"lrsearch export {result.study}{storage} --to torch -o schedule.py",
            **common,  # type: ignore[arg-type]
        )
    return Answer(
        sentence=found.sentence,
        rows=tuple(found.rows),
        how=_how(found),
        remarks=tuple(found.remarks),
        secondary=() if found.exact else tuple(found.secondary_rows),
        luck=f"Best value of the search, the luckiest of {trials}: {best.value:.6g} "
        f"{result.unit} (trial {best.index}).",
        export=f"lrsearch export {result.study}{storage} --compared --to torch -o schedule.py",
        **common,  # type: ignore[arg-type]
    )


def _how(found: Comparison) -> str:
    seeds = "exact" if found.exact else f"{found.seeds} fresh seeds"
    return (
        f"{seeds}; the best {found.candidates} considered; every peak tuned on "
        f"{len(found.best.peaks)} points; * the best baseline"
    )


def differing_fields(schedules: list[Schedule]) -> list[str]:
    """Return the names of the fields in which some schedules differ, in their order."""
    names = schedules[0].to_dict() if schedules else {}
    return [name for name in names if len({getattr(s, name) for s in schedules}) > 1]
