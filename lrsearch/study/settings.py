"""The settings of a study. Each is declared once, as a field of `Settings`.

A field has the allowed values, the help text, the default, and whether the setting is part of the
study's identity. Checks, command-line options, environment variables, the stored record, the
comparison on resume and the tracked parameters are all derived from these declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrsearch.bounds import COUNT, SEEDS, STEPS, Bound
from lrsearch.contract import LEVELS
from lrsearch.errors import RequestError
from lrsearch.sampling.registry import SAMPLERS
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.study.location import Location

#: Value of `slots` for which the number is chosen by measuring memory and throughput; value of
#: `sampler` for which the sampler is chosen by the number of trials.
AUTO = "auto"
#: Largest number of trials of a study.
MOST_TRIALS = 10_000_000
#: Default number of trials.
TRIALS = 100
#: Smallest number of runs that are divided between a search and its comparison.
SMALLEST = 12


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The declaration of a setting.

    Attributes:
        help: help text, in one line.
        bound: allowed values; None if the class of the settings checks them.
        metavar: placeholder of the value in a usage line.
        multiple: True if the option may be repeated.
        identity: True if changing the setting makes it a different study.
        tracked: True if trackers record the setting.
    """

    help: str
    bound: Bound | None = None
    metavar: str | None = None
    multiple: bool = False
    identity: bool = False
    tracked: bool = False


def setting(default: Any, help: str, bound: Bound | None = None, **words: Any) -> Any:  # noqa: A002
    """Declare a setting: return a field whose metadata is a `Declared` with these attributes."""
    about = Declared(help=help, bound=bound, **words)
    return field(default=default, metadata={"setting": about, "stored": about.identity})


def declared(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Declared]]:
    """Yield the fields of a dataclass that are settings, each with its declaration."""
    for each in dataclasses.fields(kind):
        if "setting" in each.metadata:
            yield each, each.metadata["setting"]


def check_settings(settings: Any) -> None:
    """Check every setting of a frozen dataclass, and store the value that its bound returns.

    Raises:
        RequestError: a value is out of range.
    """
    for each, about in declared(settings):
        if about.bound is not None:
            value = about.bound.check(f"`{each.name}=`", getattr(settings, each.name))
            object.__setattr__(settings, each.name, value)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a study. A value of None is taken from the objective.

    Attributes:
        location: where the study is stored.

    Raises:
        RequestError: a value is out of range, or the study's name is not a safe file name.
    """

    space: Space
    trials: int = setting(
        TRIALS,
        "Total number of trials; repeat the command with a larger N to continue.",
        Bound(kind="int", low=1, high=MOST_TRIALS),
        metavar="N",
    )
    runs: int | None = setting(
        None,
        "Total number of training runs, search and comparison together; not with trials.",
        Bound(kind="int", low=1, high=MOST_TRIALS, optional=True),
        metavar="N",
    )
    timeout: float | str | None = setting(
        None,
        "Start no new trials after this time, such as 90s, 15m or 2h.",
        Bound(kind="duration", optional=True),
        metavar="DURATION",
    )
    steps: int | None = setting(
        None,
        "Steps of a run (optimizer updates). Default: that of the objective or study.",
        dataclasses.replace(STEPS, optional=True),
        metavar="T",
        identity=True,
        tracked=True,
    )
    batch: int | None = setting(
        None,
        "Batch size of the first step. Default: that of the objective or study.",
        dataclasses.replace(COUNT, optional=True),
        metavar="B",
        identity=True,
        tracked=True,
    )
    seeds: int = setting(
        1,
        "Runs per trial, each with its own seed; their mean is the trial's value.",
        SEEDS,
        metavar="N",
        identity=True,
        tracked=True,
    )
    seed: int = setting(
        0,
        "Random seed of the study.",
        Bound(kind="int", low=0, high=2**31 - 1),
        metavar="N",
        identity=True,
        tracked=True,
    )
    trial_timeout: float | str | None = setting(
        None,
        "Fail a run that takes longer; a function is then run in a separate process.",
        Bound(kind="duration", optional=True),
        metavar="DURATION",
    )
    max_retries: int = setting(
        3,
        "Retries after a crashed process before the trial is marked failed.",
        Bound(kind="int", low=0, high=1_000_000),
        metavar="N",
    )
    max_failures: int = setting(
        3,
        "Stop after N consecutive failed trials.",
        COUNT,
        metavar="N",
    )
    sampler: str = setting(
        AUTO,
        "Sampler that proposes schedules; auto uses gp first and tpe later.",
        Bound(kind="name", names=tuple(SAMPLERS)),
        tracked=True,
    )
    pruner: str = setting(
        "divergence",
        "divergence stops runs whose loss explodes, and skips the remaining seeds of clearly "
        "worse trials; none does neither.",
        Bound(kind="name", names=("divergence", "none")),
        identity=True,
        tracked=True,
    )
    slots: int | str | None = setting(
        None,
        "Runs that one process trains at the same time on one device; for tasks, not for "
        "functions. auto tries several numbers. Default: auto on a GPU, 16 on a CPU, fewer for "
        "short searches.",
        Bound(kind="int", low=1, high=65_536, names=(AUTO,), optional=True),
        metavar="K|auto",
    )
    parallel: int | None = setting(
        None,
        "Simultaneous runs, summed over all machines, for which a new study is planned. Starts no "
        "processes. Default: workers times slots of this command.",
        Bound(kind="int", low=1, high=65_536, optional=True),
        metavar="K",
    )
    current: Schedule | str | Path | None = setting(
        None,
        "Schedule (.json file) that you use today: tried first, and compared with the others.",
        metavar="FILE",
    )
    enqueue: Sequence[Schedule | str | Path] = setting(
        (),
        "Schedule (.json file) to try before the search. Repeatable.",
        metavar="FILE",
        multiple=True,
    )
    study: str | None = setting(
        None, "Name of the study. Default: OBJECTIVE-SPACE.", metavar="NAME"
    )
    storage: str | Path | None = setting(
        None,
        "Where the study is stored: a journal file, or the URL of a database that several "
        "machines share (postgresql://USER@HOST/NAME). Default: lrsearch-studies/STUDY.journal.",
        metavar="FILE|URL",
    )
    diagnostics: str = setting(
        "cheap",
        "Measurements per trial; cheap adds at most 10 % compute, full at most 100 %.",
        Bound(kind="name", names=LEVELS),
        tracked=True,
    )
    location: Location = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "enqueue", _read_queue("enqueue", self.enqueue))
        if self.current is not None:
            object.__setattr__(self, "current", _read_queue("current", self.current)[0])
        name = "study" if self.study is None else self.study
        object.__setattr__(self, "location", Location.of(name, self.storage))

    @property
    def queue(self) -> tuple[Schedule, ...]:
        """The schedules that are tried first: `current`, then those of `enqueue`."""
        return tuple(s for s in (self.current, *self.enqueue) if isinstance(s, Schedule))


def trials_of(trials: object, runs: object, seeds: object, *, compared: bool = True) -> Any:
    """Return the number of trials that a number of trials or of runs asks for.

    From `SMALLEST` runs on, half of them are for the comparison. With fewer, a comparison would
    show nothing, and cost the search more than it helps (simulated).

    Args:
        trials: number of trials, or None.
        runs: number of runs, or None.
        seeds: runs per trial, or None for 1.
        compared: False if all runs are for the search.

    Raises:
        RequestError: both numbers are given, or the runs do not suffice for one trial.
    """
    if runs is None:
        return TRIALS if trials is None else trials
    if trials is not None:
        raise RequestError("`trials=` and `runs=` exclude each other; give one of them")
    each = 1 if seeds is None else seeds
    if not isinstance(runs, int) or not isinstance(each, int) or each < 1:
        return TRIALS  # refused by the bounds of the settings
    if 0 < runs < each:
        raise RequestError(
            f"`runs=` is {runs}, but one trial has {each} `seeds=`; give {each} runs or more"
        )
    rest = runs // 2 if compared and runs >= SMALLEST else 0
    return max(1, (runs - rest) // each)


def _read_queue(name: str, given: object) -> tuple[Schedule, ...]:
    single = isinstance(given, str) or not isinstance(given, Sequence)
    queue = []
    for one in (given,) if single else tuple(given):  # type: ignore[arg-type]
        schedule = Schedule.load(Path(one)) if isinstance(one, str | Path) else one
        if not isinstance(schedule, Schedule):
            raise RequestError(
                f"`{name}=` contains {schedule!r}; give Schedule objects or .json files"
            )
        queue.append(schedule)
    return tuple(queue)
