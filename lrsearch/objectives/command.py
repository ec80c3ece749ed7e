"""`Command`: a command line as an objective, with placeholders for the schedule of each run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lrsearch.bounds import Bound
from lrsearch.codec import Line
from lrsearch.contract import Runs, Setup
from lrsearch.errors import RequestError, RunStopped, closest
from lrsearch.objectives.command_process import CommandProcess
from lrsearch.objectives.log_patterns import LogPattern
from lrsearch.plan import csv_text
from lrsearch.result import Outcome
from lrsearch.run import Run
from lrsearch.schedule import FIELDS, Budget, Schedule

#: Name under which a study stores the command line, among what it stores of the user's code.
ORIGIN = "command line"
#: Lines of the output that the record of a failed run keeps.
LAST_LINES = 30
#: Which of the values in an output may count.
VALUE_IS = ("last", "min")
#: File in the folder of a run with the output of its command.
OUTPUT = "output.txt"

_PLACEHOLDER = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}|\{([a-z][a-z0-9_]*)\}")
_VALUE_IS = Bound(kind="name", names=VALUE_IS)

#: Placeholders of a run that do not carry its schedule.
_RUN: dict[str, Callable[[Run], object]] = {
    "seed": lambda run: run.seed,
    "steps": lambda run: len(run.plan),
    "batch": lambda run: run.plan.batch[0],
    "folder": lambda run: run.folder,
    "trial": lambda run: run.trial,
}
#: Files with the schedule, which are written to the folder of the run.
_FILES: dict[str, Callable[[Run], Path]] = {
    "lr_csv": lambda run: _write_csv(run, run.folder / "lr.csv"),
    "plan_json": lambda run: _write_json(run, run.folder / "plan.json"),
}
#: What scripts take in place of fractions of the run and of the peak.
_NUMBERS: dict[str, Callable[[Run], object]] = {
    "warmup_steps": lambda run: _schedule(run).phases(len(run.plan))[0],
    "hold_steps": lambda run: _schedule(run).phases(len(run.plan))[1],
    "decay_steps": lambda run: _schedule(run).phases(len(run.plan))[2],
    "min_lr": lambda run: _schedule(run).peak * _schedule(run).floor,
    "first_lr": lambda run: run.plan.lr[0],
    "final_lr": lambda run: run.plan.lr[-1],
}


def _field(name: str) -> Callable[[Run], object]:
    return lambda run: getattr(_schedule(run), name)


_CARRIERS = {**_FILES, **{name: _field(name) for name in FIELDS}, **_NUMBERS}
#: All placeholders, by name.
PLACEHOLDERS = {**_RUN, **_CARRIERS}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that trains one run.

    Placeholders in its words, such as `{lr_csv}` or `{peak}`, are replaced for each run:

    - `{lr_csv}`: a file with the columns `update,lr,batch,momentum`, one row per step;
      `{plan_json}`: a file with the arrays `lr`, `batch` and `momentum`, and the `schedule`;
    - the fields of a Schedule, and `{warmup_steps}`, `{hold_steps}`, `{decay_steps}`, `{min_lr}`,
      `{first_lr}`, `{final_lr}`;
    - `{seed}`, `{steps}`, `{batch}` (the first batch size), `{folder}` (the folder of the run),
      `{trial}`. `{{name}}` is the text `{name}`.

    Attributes:
        words: the command and its arguments.
        value: pattern of the lines with the value, such as `val loss {value}`; lower is better.
        value_is: `last` or `min`: which match is the value.
        report: pattern of the lines with the loss of a step, such as `iter {t}: loss {loss}`,
            from which divergence is detected; None reports nothing.

    Raises:
        RequestError: a placeholder or pattern is wrong, no placeholder carries the schedule, or
            there is no such program.

    Example:
        >>> words = ("sh", "-c", "echo val loss $1", "sh", "{peak}")
        >>> command = lrsearch.Command(words=words, value="val loss {value}")
        >>> asked = {"steps": 10, "settings": {"peak": {"low": 0.01, "high": 1.0, "log": True}}}
        >>> lrsearch.tune(command, trials=3, tracking_uri="none", **asked).counts["finished"]
        3
    """

    words: tuple[Line, ...]
    value: Line
    value_is: str = "last"
    report: Line | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        if not self.words or not all(isinstance(w, str) and "\0" not in w for w in self.words):
            raise RequestError(
                "the command has no words; give the program and its arguments as texts"
            )
        used = [m[2] for word in self.words for m in _PLACEHOLDER.finditer(word) if m[2]]
        for name in used:
            if name not in PLACEHOLDERS:
                raise RequestError(
                    f"the command has the placeholder {{{name}}}{closest(name, PLACEHOLDERS)}; "
                    f"write {{{{{name}}}}} for the text {{{name}}} itself"
                )
        if not any(name in _CARRIERS for name in used):
            raise RequestError(
                "no placeholder of the command carries the schedule; give {lr_csv}, {plan_json} "
                "or fields of the schedule such as {peak} and {warmup_steps}"
            )
        if not _PLACEHOLDER.search(self.words[0]) and shutil.which(self.words[0]) is None:
            raise RequestError(f"there is no program {self.words[0]}; check the command")
        _VALUE_IS.check("`value_is=`", self.value_is)
        _ = self.patterns

    @property
    def patterns(self) -> tuple[LogPattern, LogPattern | None]:
        """The patterns of the value and of the report."""
        report = None if self.report is None else LogPattern(self.report, ("t", "loss"))
        return LogPattern(self.value, ("value",)), report

    @property
    def name(self) -> str:
        """The stem of its script, else of its program."""
        scripts = [word for word in self.words if word.endswith(".py")]
        stem = Path(scripts[0] if scripts else self.words[0]).stem
        return re.sub(r"[^\w.-]", "_", stem) or "command"

    def for_run(self, run: Run) -> list[str]:
        """Return the words for a run, and write the files that they name."""
        known: dict[str, str] = {}

        def fill(match: re.Match[str]) -> str:
            if match[1]:
                return f"{{{match[1]}}}"
            if match[2] not in known:
                known[match[2]] = str(PLACEHOLDERS[match[2]](run))
            return known[match[2]]

        return [_PLACEHOLDER.sub(fill, word) for word in self.words]


class CommandObjective:
    """A command as an objective.

    Attributes:
        command: the command.
        setup: its description.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        words = {ORIGIN: shlex.join(command.words), "`value=`": command.value}
        words["`value_is=`"] = command.value_is
        if command.report is not None:
            words["`report=`"] = command.report
        self.setup = Setup(name=command.name, unit="value", steps=1000, origin=words)

    def evaluate(self, runs: Runs) -> Iterator[Outcome]:
        """Run the command for each run, one by one."""
        while taken := runs.take(1):
            yield self.answer(taken[0])

    def optimum(self, budget: Budget) -> float | None:
        """Return None: the optimum is unknown."""
        return None

    def answer(self, run: Run) -> Outcome:
        """Run the command once; a failure of it is the outcome of the run."""
        last: deque[str] = deque(maxlen=LAST_LINES)
        try:
            words = self.command.for_run(run)
            with CommandProcess(words, _environment(run), run.folder / OUTPUT) as process:
                value = self._follow(run, process, last)
                code = process.code(run.limit)
        except RunStopped as stop:
            return run.end(stop.state, reason=str(stop), details="\n".join(last))
        except TimeoutError:
            reason = f"it took longer than {run.limit:g} s and was ended"
            return run.end("failed", reason=reason, details="\n".join(last))
        except OSError as error:
            return run.end("failed", reason=f"the command cannot be started: {error.strerror}")
        if code == 0 and value is not None:
            return run.end("finished", value)
        reason = f"the command ended with {_describe(code)}"
        if code == 0:
            reason = f"no line of the output matches {self.command.value!r}"
        said = f"; its last line: {last[-1]}" if last else "; it printed nothing"
        return run.end("failed", reason=reason + said, details="\n".join(last))

    def _follow(self, run: Run, process: CommandProcess, last: deque[str]) -> float | None:
        """Read the output, report its losses, and return its value or None."""
        pattern, report = self.command.patterns
        values: list[float] = []
        reported = -1
        for line in process.lines(run.limit):
            last.append(line[:500])
            if (found := pattern.read(line)) is not None:
                values.append(found["value"])
            found = None if report is None else report.read(line)
            if found is not None and found["t"] > reported:  # a line may be printed again
                reported = int(found["t"])
                run.report(reported, found["loss"])
        if not values:
            return None
        return min(values) if self.command.value_is == "min" else values[-1]


def _environment(run: Run) -> Mapping[str, str]:
    """Return the environment of a run's command; no name is one of lrsearch's own options."""
    return {
        "PYTHONUNBUFFERED": "1",  # else Python keeps its reports back
        **os.environ,
        "LRSEARCH_RUN_TRIAL": str(run.trial),
        "LRSEARCH_RUN_SEED": str(run.seed),
        "LRSEARCH_RUN_STEPS": str(len(run.plan)),
        "LRSEARCH_RUN_FOLDER": str(run.folder),
    }


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"


def _schedule(run: Run) -> Schedule:
    if run.schedule is None:
        raise RequestError("this run has no schedule; use {lr_csv} or {plan_json}")
    return run.schedule


def _write_csv(run: Run, path: Path) -> Path:
    path.write_text(csv_text(run.plan), encoding="utf-8")
    return path


def _write_json(run: Run, path: Path) -> Path:
    lr, batch, momentum = run.plan.to_plain()
    plan = {"lr": lr, "batch": batch, "momentum": momentum}
    schedule = None if run.schedule is None else run.schedule.to_dict()
    path.write_text(json.dumps({"schedule": schedule, **plan}) + "\n", encoding="utf-8")
    return path
