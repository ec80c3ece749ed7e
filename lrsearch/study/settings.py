"""The settings of a study. Each is declared once, as a field of `Settings`.

A field carries what the setting may be, its help text, its default, and whether it is part of the
study's identity. Checks, command-line options, environment variables, the stored record, the
comparison on resume and what trackers are told are all derived from these declarations.
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

#: The number of slots that is found by measuring memory and throughput.
AUTO = "auto"
#: Trials that a study may have.
MOST_TRIALS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Declared:
    """How a setting is declared.

    Attributes:
        help: one line for people.
        bound: what it may be; None where the class that holds it checks it.
        metavar: what stands for its value in a usage line.
        multiple: whether its option may be repeated.
        identity: whether a study with another value is another study.
        tracked: whether trackers are told it.
    """

    help: str
    bound: Bound | None = None
    metavar: str | None = None
    multiple: bool = False
    identity: bool = False
    tracked: bool = False


def setting(default: Any, help: str, bound: Bound | None = None, **words: Any) -> Any:  # noqa: A002
    """Declare a setting: a field whose metadata is a `Declared`; arguments are its attributes."""
    about = Declared(help=help, bound=bound, **words)
    return field(default=default, metadata={"setting": about, "stored": about.identity})


def declared(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Declared]]:
    """Yield the fields of a dataclass that are settings, and how each is declared."""
    for each in dataclasses.fields(kind):
        if "setting" in each.metadata:
            yield each, each.metadata["setting"]


def check_settings(settings: Any) -> None:
    """Check every setting of a frozen dataclass, and keep what its bound makes of it.

    Raises:
        RequestError: a value is out of range.
    """
    for each, about in declared(settings):
        if about.bound is not None:
            value = about.bound.check(each.name, getattr(settings, each.name))
            object.__setattr__(settings, each.name, value)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study is asked for. A value of None is taken from the objective.

    Attributes:
        location: where the study is stored.

    Raises:
        RequestError: a value is out of range, or a name cannot be a file's.
    """

    space: Space
    trials: int = setting(
        100,
        "Ended trials in total; the same command with a larger N goes on.",
        Bound(kind="int", low=1, high=MOST_TRIALS),
        metavar="N",
    )
    timeout: float | str | None = setting(
        None,
        "Begin no further trial after 90s, 15m or 2h.",
        Bound(kind="duration", optional=True),
        metavar="DURATION",
    )
    steps: int | None = setting(
        None,
        "Updates of a run.",
        dataclasses.replace(STEPS, optional=True),
        metavar="T",
        identity=True,
        tracked=True,
    )
    batch: int | None = setting(
        None,
        "Samples of the first update.",
        dataclasses.replace(COUNT, optional=True),
        metavar="B",
        identity=True,
        tracked=True,
    )
    seeds: int = setting(
        1,
        "Runs a trial; their mean is its value.",
        SEEDS,
        metavar="N",
        identity=True,
        tracked=True,
    )
    seed: int = setting(
        0,
        "Seed of the study.",
        Bound(kind="int", low=0, high=2**31 - 1),
        metavar="N",
        identity=True,
        tracked=True,
    )
    trial_timeout: float | str | None = setting(
        None,
        "Fail a run that takes longer; a function runs in a process of its own for that, which is "
        "ended even where it hangs.",
        Bound(kind="duration", optional=True),
        metavar="DURATION",
    )
    max_retries: int = setting(
        3,
        "Begin a trial whose process has died again so often before it is failed.",
        Bound(kind="int", low=0, high=1_000_000),
        metavar="N",
    )
    max_failures: int = setting(
        3,
        "End the search after so many failed trials in a row since its start.",
        COUNT,
        metavar="N",
    )
    sampler: str = setting(
        AUTO,
        "How schedules are chosen; auto is gp first and tpe later.",
        Bound(kind="name", names=tuple(SAMPLERS)),
        tracked=True,
    )
    pruner: str = setting(
        "divergence",
        "What ends a run early.",
        Bound(kind="name", names=("divergence", "none")),
        identity=True,
        tracked=True,
    )
    slots: int | str | None = setting(
        None,
        "Runs in flight, for tasks that train several at once, of each worker; auto measures "
        "which number is fastest. Default: auto on a GPU, 16 on a CPU, fewer for short searches.",
        Bound(kind="int", low=1, high=65_536, names=(AUTO,), optional=True),
        metavar="K|auto",
    )
    parallel: int | None = setting(
        None,
        "Runs at once on all machines together that a new study is founded for: trials look no "
        "further back than that. Default: those of this command.",
        Bound(kind="int", low=1, high=65_536, optional=True),
        metavar="K",
    )
    enqueue: Sequence[Schedule | str | Path] = setting(
        (),
        "A Schedule's .json file to try before all others, such as the one in use today. "
        "Repeatable.",
        metavar="FILE",
        multiple=True,
    )
    study: str | None = setting(None, "Default: OBJECTIVE-SPACE.", metavar="NAME")
    storage: str | Path | None = setting(
        None,
        "The study's journal file, or a database that several machines share, such as "
        "postgresql://USER@HOST/NAME. Default: lrsearch-studies/STUDY.journal.",
        metavar="FILE|URL",
    )
    diagnostics: str = setting(
        "cheap",
        "What is measured of every trial beside its value; cheap costs at most a tenth of the "
        "training, full up to as much again.",
        Bound(kind="name", names=LEVELS),
        tracked=True,
    )
    location: Location = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_settings(self)
        object.__setattr__(self, "enqueue", _read_queue(self.enqueue))
        name = "study" if self.study is None else self.study
        object.__setattr__(self, "location", Location.of(name, self.storage))

    @property
    def queue(self) -> tuple[Schedule, ...]:
        """The schedules of `enqueue`."""
        return tuple(s for s in self.enqueue if isinstance(s, Schedule))


def _read_queue(given: object) -> tuple[Schedule, ...]:
    single = isinstance(given, str) or not isinstance(given, Sequence)
    queue = []
    for one in (given,) if single else tuple(given):  # type: ignore[arg-type]
        schedule = Schedule.load(Path(one)) if isinstance(one, str | Path) else one
        if not isinstance(schedule, Schedule):
            raise RequestError(f"enqueue holds {schedule!r}; give Schedules or .json files")
        queue.append(schedule)
    return tuple(queue)
