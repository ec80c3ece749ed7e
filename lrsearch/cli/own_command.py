"""What `lrsearch tune` prints about the user's own command before it runs anything."""

from __future__ import annotations

import math
import shlex

from lrsearch.cli.output import table
from lrsearch.errors import RequestError
from lrsearch.objectives.command import Command
from lrsearch.objectives.log_patterns import LogPattern
from lrsearch.run import Run
from lrsearch.seeding import run_seed
from lrsearch.study.location import run_folder
from lrsearch.study.spec import StudySpec


def describe_first_command(spec: StudySpec, command: Command) -> str:
    """Return the command of the first run, and write the files that it names.

    They are where the search will write them, unless there is a study of this name already.
    """
    runs, journal = spec.location.runs, spec.location.path
    home = runs / run_folder(0, 0)
    taken = home.exists() if journal is None else (spec.location.here / journal).exists()
    if taken:
        home = runs / "dry-run"
    schedule = spec.queue[0] if spec.queue else spec.space.schedule(spec.first)
    schedule = schedule.with_momentum(spec.momentum)
    plan = spec.budget.plan(schedule)
    seed, place = run_seed(spec.seed, 0), str(home.absolute())
    run = Run(trial=0, replicate=0, seed=seed, plan=plan, schedule=schedule, home=place)
    line = shlex.join(command.for_run(run))
    if command.must_ask:
        own = [f"{name}={text}" for name, text in command.environment_for(run).items()]
        line = f"{shlex.join(['env', *own])} {line}"
    return f"\nThe first command; its files are written in {home}:\n\n{line}\n"


def describe_patterns(log: str, value: str | None, value_is: str, report: str | None) -> str:
    """Return what patterns read in the file of an old output.

    Args:
        log: path of the file.
        value: pattern of the lines with the value, or None.
        value_is: `last` or `min`: which of the values counts.
        report: pattern of the lines with the loss of a step, or None.

    Raises:
        RequestError: there is no pattern or no such file, or no line matches.
    """
    if value is None and report is None:
        raise RequestError("--try-patterns reads with patterns; give --value or --report too")
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")
    except OSError as error:
        raise RequestError(
            f"cannot read {log}: {error.strerror}; give the path of a log"
        ) from error
    rows = []
    if value is not None:
        found = [each["value"] for each in _read(log, lines, LogPattern(value, ("value",)))]
        finite = [each for each in found if math.isfinite(each)] or found
        counts = min(finite) if value_is == "min" else found[-1]
        rows.append(
            (
                "value",
                f"{counts:.4g} ({_times(found)}; first {found[0]:.4g}, smallest "
                f"{min(finite):.4g}, last {found[-1]:.4g})",
            )
        )
    if report is not None:
        reports = list(_read(log, lines, LogPattern(report, ("t", "loss"))))
        steps = [int(each["t"]) for each in reports]
        rows.append(
            (
                "report",
                f"{_times(steps)}; steps {min(steps)} to {max(steps)}, "
                f"losses {reports[0]['loss']:.4g} to {reports[-1]['loss']:.4g}",
            )
        )
    return table(rows)


def _times(found: list[float] | list[int]) -> str:
    return "1 line matches" if len(found) == 1 else f"{len(found)} lines match"


def _read(log: str, lines: list[str], pattern: LogPattern) -> list[dict[str, float]]:
    found = [numbers for line in lines if (numbers := pattern.read(line)) is not None]
    if not found:
        hint = _nearest(lines, pattern)
        raise RequestError(f"no line of {log} matches {pattern.text!r}; {hint}")
    return found


def _nearest(lines: list[str], pattern: LogPattern) -> str:
    """Return a line that contains the first words of a pattern, else the last line."""
    words = pattern.text.partition("{")[0].split()
    for count in range(len(words), 0, -1):
        start = " ".join(words[:count]).lower()
        for line in lines:
            if start in " ".join(line.lower().split()):
                return f"the line nearest to it is {line.strip()[:100]!r}"
    written = [line.strip() for line in lines if line.strip()]
    return f"its last line is {written[-1][:100]!r}" if written else "the file is empty"
