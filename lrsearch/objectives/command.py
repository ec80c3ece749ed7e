"""`Command`: a command line as an objective, with placeholders for the schedule of each run."""

from __future__ import annotations

import functools
import math
import os
import shlex
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from typing import Any

from lrsearch.bounds import Bound
from lrsearch.client import PLAN, REPORTS
from lrsearch.codec import Line
from lrsearch.contract import Runs, Setup
from lrsearch.errors import RequestError, RunStopped, log
from lrsearch.objectives.client_reports import NAME, ClientReports
from lrsearch.objectives.command_files import client_calls, digests, mentions, name_of
from lrsearch.objectives.command_process import LOOK, MARK, CommandProcess
from lrsearch.objectives.log_patterns import LogPattern
from lrsearch.objectives.placeholders import CARRIERS, FILES, carried, fill, folder_for, used
from lrsearch.objectives.value_file import ValueFile
from lrsearch.origin import COMMAND_LINE
from lrsearch.outcome import Outcome
from lrsearch.run import Run
from lrsearch.schedule import Budget

#: The text of `value_from=` for the value that `lrsearch.client` reports.
CLIENT = "client"
#: Lines of the output that the record of a failed run keeps.
LAST_LINES = 30
#: Which of several values may count.
VALUE_IS = ("last", "min")
#: File in the folder of a run with the output of its command.
OUTPUT = "output.txt"

_VALUE_IS = Bound(kind="name", names=VALUE_IS)


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

    A script that calls `lrsearch.client.rates` needs no placeholder for the schedule.

    Attributes:
        words: the command and its arguments.
        value: pattern of the lines with the value, such as `val loss {value}`; lower is better.
        value_from: in place of it, `FILE:KEY` of a JSON file that the command writes, such as
            `{folder}/results.json:eval.loss`, or `client` for `lrsearch.client.value`, which is
            the default if a script of the command calls it.
        value_is: `last` or `min`: which of several values counts.
        report: pattern of the lines with the loss of a step, such as `iter {t}: loss {loss}`,
            from which divergence is detected; None takes the reports of `lrsearch.client`.

    Raises:
        RequestError: a placeholder or pattern is wrong, nothing carries the schedule or the value,
            or there is no such program.

    Example:
        >>> words = ("sh", "-c", "echo val loss $1", "sh", "{peak}")
        >>> command = lrsearch.Command(words=words, value="val loss {value}")
        >>> peak = {"low": 0.01, "high": 1.0, "log": True}
        >>> fields = {"peak": peak, "warmup": 0.0, "floor": 0.0}
        >>> asked = {"steps": 10, "space": "linear", "settings": fields}
        >>> lrsearch.tune(command, trials=3, tracking_uri="none", **asked).counts["finished"]
        3
    """

    words: tuple[Line, ...]
    value: Line | None = None
    value_from: Line | None = None
    value_is: str = "last"
    report: Line | None = None

    def __post_init__(self) -> None:
        given: Any = self.words
        words = () if isinstance(given, str) else tuple(given)
        if not words or not all(isinstance(w, str) and "\0" not in w for w in words):
            raise RequestError(
                f"the command is {self.words!r}; give a list of texts, the program and its "
                "arguments"
            )
        object.__setattr__(self, "words", words)
        if self.value is None and self.value_from is None:
            if "value" not in self._calls:
                raise RequestError(
                    "the command has no value; give `value=` with the text before it in the "
                    "output, such as 'val loss {value}', `value_from=` with FILE:KEY of a JSON "
                    "file, or `value_from=client` if a script calls lrsearch.client.value"
                )
            object.__setattr__(self, "value_from", CLIENT)
        elif self.value is not None and self.value_from is not None:
            raise RequestError("`value=` and `value_from=` exclude each other; give one of them")
        if self.must_ask and self.value_from != CLIENT and "rates" not in self._calls:
            raise RequestError(
                "no placeholder of the command carries the schedule; give {lr_csv}, {plan_json} "
                "or fields of the schedule such as {peak} and {warmup_steps}, or call "
                "lrsearch.client.rates in the script that the command names"
            )
        if not used(self.words[:1]) and shutil.which(self.words[0]) is None:
            raise RequestError(f"there is no program {self.words[0]}; check the command")
        _VALUE_IS.check("`value_is=`", self.value_is)
        if self.value_file is not None and self.value_is != "last":
            raise RequestError("a JSON file has one value; leave out `value_is=`")
        _ = self.patterns, self.value_file  # raise an error if they are wrong

    @functools.cached_property
    def _calls(self) -> set[str]:
        """The functions of `lrsearch.client` that its files call."""
        return client_calls(self.words)

    @property
    def takes_batch(self) -> bool:
        """True if the command gets the batch size as a number."""
        return "batch" in used(self.words)

    @property
    def takes_seed(self) -> bool:
        """True if the command gets the seed of a run, or a file of it may read the variable."""
        return "seed" in used(self.words) or mentions(self.words, "LRSEARCH_RUN_SEED")

    @property
    def reached(self) -> set[str] | None:
        """The fields of the schedule that reach the command; None for all, which a file has."""
        return None if "rates" in self._calls else carried(used(self.words)) or None

    @property
    def must_ask(self) -> bool:
        """True if the command gets its schedule only by asking for it with the client."""
        return not CARRIERS.keys() & set(used(self.words))

    @property
    def patterns(self) -> tuple[LogPattern | None, LogPattern | None]:
        """The patterns of the value and of the report, each None if there is none."""
        value = None if self.value is None else LogPattern(self.value, ("value",))
        report = None if self.report is None else LogPattern(self.report, ("t", "loss"))
        return value, report

    @property
    def value_file(self) -> ValueFile | None:
        """The file with the value, or None if it is elsewhere."""
        if self.value_from is None or self.value_from == CLIENT:
            return None
        return ValueFile(self.value_from)

    @property
    def name(self) -> str:
        """The stem of its script or module, else of its program."""
        return name_of(self.words)

    @property
    def origin(self) -> dict[str, str]:
        """The command line and the other fields, as a study stores them (`lrsearch.origin`)."""
        known = {f"`{f.name}=`": getattr(self, f.name) for f in fields(self) if f.name != "words"}
        given = {name: each for name, each in known.items() if each is not None}
        return {COMMAND_LINE: shlex.join(self.words), **given}

    def for_run(self, run: Run, **known: str) -> list[str]:
        """Return the words for a run, and write the files that they name.

        Args:
            run: the run.
            known: texts of placeholders that are known already.
        """
        return fill(self.words, run, **known)

    def environment_for(self, run: Run) -> dict[str, str]:
        """Return the variables of a run, and write the file that they name.

        None of them is an option of lrsearch, which a search within the command would read.
        """
        return {
            "LRSEARCH_RUN_TRIAL": str(run.trial),
            "LRSEARCH_RUN_SEED": str(run.seed),
            "LRSEARCH_RUN_STEPS": str(len(run.plan)),
            MARK: str(folder_for(run)),
            PLAN: str(FILES["lr_csv"](run)),
            REPORTS: str(run.folder / NAME),
        }


class CommandObjective:
    """A command as an objective.

    Attributes:
        command: the command.
        setup: its description.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.setup = Setup(
            name=command.name,
            unit="value",
            steps=1000,
            origin=command.origin,
            reached=command.reached,
            files=digests(command.words),
        )

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
            value = self._train(run, last)
        except RunStopped as stop:
            return run.end(stop.state, reason=str(stop), details="\n".join(last))
        except TimeoutError:
            reason = f"it took longer than {run.limit:g} s and was ended"
            return run.end("failed", reason=reason, details="\n".join(last))
        except OSError as error:
            return run.end("failed", reason=f"the command cannot be started: {error.strerror}")
        except ValueError as error:
            said = f"; its last line: {last[-1]}" if last else "; it printed nothing"
            return run.end("failed", reason=f"{error}{said}", details="\n".join(last))
        return run.end("finished", value)

    def _train(self, run: Run, last: deque[str]) -> float:
        """Return the value of a run.

        Args:
            run: the run.
            last: where to keep the last lines of the output.

        Raises:
            RunStopped: it has diverged or took too long.
            TimeoutError: it reached its time limit.
            OSError: the command cannot be started.
            ValueError: it failed, or has no value.
        """
        command, file = self.command, self.command.value_file
        own = command.environment_for(run)
        words = command.for_run(run, lr_csv=own[PLAN])
        environment = {"PYTHONUNBUFFERED": "1", **os.environ, **own}  # no report is kept back
        environment.pop("LRSEARCH_WORKER", None)  # the command may search itself
        before = None if file is None else file.stamp(run)
        with (
            nullcontext() if file is None else file.alone(run),
            ClientReports(run.folder / NAME) as reports,
            CommandProcess(words, environment, run.folder / OUTPUT) as process,
        ):
            values = self._follow(run, process, reports, last)
            code = process.code(run.limit)
            if code and values and not math.isfinite(values[-1]):
                raise RunStopped(
                    "diverged", f"its value is {values[-1]}, and it ended with {_describe(code)}"
                )
            if code:
                raise ValueError(f"the command ended with {_describe(code)}")
            if command.must_ask and not reports.asked:
                raise ValueError(
                    "the command has not asked for its learning rates with lrsearch.client.rates"
                )
            if file is not None:
                return file.read(run, before)
        if not values:
            raise ValueError(
                "the command reported no value with lrsearch.client.value"
                if command.value is None
                else f"no line of the output matches {command.value!r}"
            )
        finite = [value for value in values if math.isfinite(value)]
        return min(finite) if finite and command.value_is == "min" else values[-1]

    def _follow(
        self, run: Run, process: CommandProcess, reports: ClientReports, last: deque[str]
    ) -> list[float]:
        """Read the output and the client's reports, report the losses, and return the values."""
        of_value, of_report = self.command.patterns
        values: list[float] = []
        losses = _Losses(run)
        looked = time.monotonic()
        for line in process.lines(run.limit):
            if line:
                last.append(line[:500])
            if of_value is not None and (found := of_value.read(line)) is not None:
                values.append(found["value"])
            if of_report is not None and (found := of_report.read(line)) is not None:
                losses.report(found["t"], found["loss"])
            if not line or time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                self._read(reports, losses, values)
        self._read(reports, losses, values)
        return values

    def _read(self, reports: ClientReports, losses: _Losses, values: list[float]) -> None:
        for message in reports.read():
            if "value" not in message and self.command.report is None:
                losses.report(message["step"], message["loss"])
            elif "value" in message and self.command.value_from == CLIENT:
                values.append(message["value"])


#: Last steps of the plans for which a report outside them was logged.
_warned: set[int] = set()


class _Losses:
    """The losses of a run in the order of its steps; a line may be printed again."""

    def __init__(self, run: Run) -> None:
        self._run, self._latest = run, -1

    def report(self, step: float, loss: float) -> None:
        """Report the loss of a step, unless it or a later one was reported."""
        last = len(self._run.plan) - 1
        if step > last and last not in _warned:
            _warned.add(last)
            log.warning("a report of step %d is ignored; the steps are 0 to %d", int(step), last)
        if self._latest < step <= last:
            self._run.report(int(step), loss)
            self._latest = int(step)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"
