"""The text that commands print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from lrsearch.answer import Answer, answer_of, differing_fields, rounded_fields
from lrsearch.cli.output import table
from lrsearch.cli.progress import show_seconds
from lrsearch.contract import Setup
from lrsearch.diagnostics.names import DIAGNOSTICS
from lrsearch.diagnostics.ranking import Ranking
from lrsearch.hints import grouped_failures
from lrsearch.outcome import Trial, first_of_each
from lrsearch.plan import Plan
from lrsearch.ranges import Choices, Entry, Range
from lrsearch.result import Result
from lrsearch.schedule import Schedule
from lrsearch.study.location import storage_option
from lrsearch.study.settings import declared
from lrsearch.study.spec import StudySpec

if TYPE_CHECKING:
    from lrsearch.search.comparison_choice import Offer

WIDTH = 100

BARS = " ▁▂▃▄▅▆▇█"


def describe_entry(entry: Entry) -> str:
    """Return a range, choices or a fixed value in a few words."""
    if isinstance(entry, Choices):
        return "one of " + ", ".join(str(value) for value in entry.values)
    if not isinstance(entry, Range):
        return f"{entry:.6g}" if isinstance(entry, float) else str(entry)
    words = f"{entry.low:.4g} to {entry.high:.4g}"
    words += ", log" if entry.log else ""
    return words if entry.step is None else f"{words}, step {entry.step:g}"


def spark(plan: Plan, width: int = 60) -> str:
    """Return the learning rates as one line of bars."""
    columns = min(width, len(plan))
    rates = [plan.lr[i * len(plan) // columns] for i in range(columns)]
    top = max(rates)
    return "".join(BARS[round(rate / top * (len(BARS) - 1))] for rate in rates)


def describe_search(spec: StudySpec, setup: Setup) -> str:
    """Return the resolved settings of a search, for `--dry-run`."""
    rows = [
        ("study", f"{spec.name} in {spec.location}"),
        ("objective", f"{setup.name}, lower is better, in {setup.unit}"),
        ("space", f"{spec.space.name}, {len(spec.space.free)} free fields"),
        *((f"  {name}", describe_entry(e)) for name, e in spec.space.entries.items()),
        *(
            (each.name, str(getattr(spec, each.name)))
            for each, about in declared(spec)
            if about.bound is not None and getattr(spec, each.name) is not None
        ),
        ("device", setup.device),
        *((name, repr(schedule)) for name, schedule in _first(spec)),
        ("default", repr(spec.space.schedule(spec.first))),
    ]
    return table(rows)


def _first(spec: StudySpec) -> Iterator[tuple[str, Schedule]]:
    """Yield the schedules that are tried first, with their names."""
    for schedule in spec.queue:
        yield "current" if schedule is spec.current else "enqueued", schedule


def describe_comparison(answer: Answer) -> str:
    """Return the answer of a comparison: the sentence, the table and the remarks."""
    lines = [fill(answer.sentence, WIDTH), "", table(answer.rows).rstrip(), ""]
    lines += [fill(f"({answer.how})", WIDTH)]
    lines += [fill(remark, WIDTH, subsequent_indent="  ") for remark in answer.remarks]
    return "\n".join(lines) + "\n"


def describe_result(
    result: Result, complete: bool = False, offers: Sequence[Offer] = (), again: str = ""
) -> str:
    """Return the answer of a search: the best schedule, the comparison and what to do next.

    Args:
        result: the study's result.
        complete: True if the study was complete before this command.
        offers: comparisons that would take long and were not run.
        again: the words with which `lrsearch compare` gets the user's own objective.
    """
    best, answer = result.best, answer_of(result)
    trials = len(result.trials)
    state = "; the study is complete" if complete else ""
    lines = [f"{result.study}: {trials} trials ({answer.counts}){state}", ""]
    if result.comparison is not None:
        lines += [describe_comparison(answer).rstrip()]
    else:
        lines += [fill(answer.sentence, WIDTH)]
        lines += [fill(remark, WIDTH, subsequent_indent="  ") for remark in answer.remarks]
    lines += ["", f"recommended: {_brief(answer.schedule)}"]
    plan = result.budget.plan(answer.schedule)
    lines += [f"0 {spark(plan)} {len(plan)}"]
    rows = [("best single trial", f"trial {best.index}", f"{best.value:.4g} {result.unit}")]
    rows += [
        (
            name,
            f"trial {first.index}",
            first.state if first.value is None else f"{first.value:.4g} {result.unit}",
        )
        for name, first in result.firsts.items()
        if first is not best or name == "current"
    ]
    probing = sum(trial.probing for trial in result.trials)
    if probing:
        share = probing / max(sum(trial.seconds for trial in result.trials) - probing, 1e-9)
        measured = sum(name in DIAGNOSTICS for name in best.diagnostics)
        rows.append(("measured", "", f"{measured} diagnostics ({100 * share:.1f} % extra time)"))
    if result.reference is not None:
        optimum, value = result.reference["optimum"], result.recommended.value
        above = "" if value is None else f"; the recommended schedule is {_above(value, optimum)}"
        note = f"{optimum:.4g} {result.unit}{above}"
        rows.append(("optimum", "", note))
    lines += ["", table(rows).rstrip()]
    lines += ["", table(_next_steps(result, answer, complete, offers, again)).rstrip()]
    return "\n".join(lines) + "\n"


def _above(value: float, optimum: float) -> str:
    return f"{100 * (value / optimum - 1):.2f} % above it"


def _brief(schedule: Schedule) -> str:
    return ", ".join(f"{name} {value}" for name, value in rounded_fields(schedule))


def _next_steps(
    result: Result, answer: Answer, complete: bool, offers: Sequence[Offer], again: str
) -> list[tuple[str, str]]:
    study, failed = result.study, result.counts["failed"]
    storage = storage_option(result.study, result.storage)
    steps = (
        (failed, "retry", f"the same command, when the error is fixed ({failed} trials failed)"),
        (complete, "continue", f"the same command with --trials {2 * result.counted}"),
        *(
            (
                True,
                "compare" if result.comparison is None else "compare more",
                f"lrsearch compare {study}{storage}{offer.option}{again}   # {cost_of(offer)}",
            )
            for offer in offers
        ),
        (True, "plot", f"lrsearch show {study}{storage} --plot {study}.png"),
        (True, "export", answer.export),
        (result.tracking_uri is not None, "open in MLflow", f"lrsearch ui {study}{storage}"),
    )
    return [(word, command) for offered, word, command in steps if offered]


def cost_of(offer: Offer) -> str:
    """Return the runs and the time of a comparison, and the difference that it can show."""
    plan = offer.plan
    time = f"about {show_seconds(offer.seconds)}"
    if plan.exact:
        return f"about {plan.runs} runs, {time}"
    return f"{plan.runs} runs, {time}; shows {plan.looks.detectable():.2g} standard deviations"


def describe_offer(offer: Offer) -> str:
    """Return what a comparison would run, and what it can show."""
    plan = offer.plan
    tuned = [shape.name for shape in plan.alternatives if shape.most or shape.known]
    fixed = [shape.name for shape in plan.alternatives if shape.fixed]
    rows = [
        ("runs", f"about {plan.runs}" if plan.exact else f"at most {plan.runs}"),
        ("time", f"about {show_seconds(offer.seconds)}"),
        ("candidates", ", ".join(shape.name for shape in plan.candidates)),
        *((("tuned alternatives", ", ".join(tuned)),) if tuned else ()),
        *((("other alternatives", ", ".join(fixed)),) if fixed else ()),
    ]
    if not plan.exact:
        shown = f"{plan.looks.detectable():.2g} standard deviations of a paired difference"
        rows += [
            ("fresh seeds", f"{plan.seeds} at most, fewer if the verdict is clear early"),
            ("can show", f"a difference of {shown}, in four of five cases"),
        ]
    return table(rows)


def leaderboard(result: Result, top: int, ranking: Ranking | None = None) -> str:
    """Return the best trials, one per row, with the fields in which trials differ.

    Trials of the same schedule are one row, with their number.

    Args:
        result: the study's result.
        top: number of rows.
        ranking: the order by a diagnostic, which is shown next to the value; None sorts by value.
    """
    ranked = result.ranked if ranking is None else ranking.trials
    count = Counter(trial.schedule for trial in ranked)
    shown = first_of_each(ranked)[:top]
    beside = [] if ranking is None or ranking.name == "value" else [ranking.name]
    fields = differing_fields([trial.schedule for trial in result.trials])
    rows = [
        ("trial", result.unit, *beside, *fields),
        *(_row(trial, count[trial.schedule], beside, fields) for trial in shown),
    ]
    failed = "".join(f"{line}\n" for line in grouped_failures(result)[:top])
    return table(rows, right=range(len(rows[0]))) + failed


def describe_ranking(result: Result, ranking: Ranking) -> str:
    """Return the meaning of a diagnostic, and its rank correlation with the value."""
    lines = [f"{ranking.name}: {ranking.about}"] if ranking.about else []
    if ranking.correlation is not None:
        lines.append(
            f"Spearman's correlation with the value over {len(ranking.trials)} trials: "
            f"{ranking.correlation:+.2f}"
        )
    missing = len(result.ranked) - len(ranking.trials)
    if missing:
        lines.append(
            f"{missing} finished trials have no value of it: they ran with other --diagnostics"
        )
    return "".join(f"\n{fill(line, WIDTH)}\n" for line in lines)


def _row(trial: Trial, count: int, beside: list[str], fields: list[str]) -> tuple[str, ...]:
    values = [
        *(trial.diagnostics[n] for n in beside),
        *(getattr(trial.schedule, n) for n in fields),
    ]
    cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    index = f"{trial.index}{f' ({count} times)' if count > 1 else ''}"
    return (index, f"{trial.value:.4g}", *cells)
