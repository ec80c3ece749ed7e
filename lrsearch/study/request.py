"""What may be asked of a search, checked before anything heavy is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.baselines import BASELINES
from lrsearch.bounds import COUNT, SEEDS, STEPS, Bound
from lrsearch.contract import Setup
from lrsearch.errors import RequestError, closest
from lrsearch.ranges import Value
from lrsearch.schedule import Schedule
from lrsearch.space import Space
from lrsearch.study.location import Location

__all__ = [
    "AUTO",
    "MOST",
    "PRUNERS",
    "SAMPLERS",
    "ComparisonSpec",
    "Request",
    "Search",
    "parse_duration",
]

#: `auto` is a Gaussian process first and TPE later; the rest are what they are called.
SAMPLERS = ("auto", "gp", "tpe", "qmc", "random")
#: `divergence` stops what is hopeless; `none` lets every run reach its end.
PRUNERS = ("divergence", "none")
#: The number of slots that is found by measuring memory and throughput.
AUTO = "auto"

DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?)(s|m|h|d)?")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: Trials that a study may have.
MOST = 10_000_000
SLOTS = Bound(kind="int", low=1, high=65_536)
PARALLEL = Bound(kind="int", low=1, high=65_536, optional=True)

_COMPARISON_BOUNDS = {
    "top": Bound(kind="int", low=1, high=1000),
    "seeds": Bound(kind="int", low=5, high=1000),
    "grid": Bound(kind="int", low=1, high=101),
}
_BOUNDS = {
    "trials": Bound(kind="int", low=1, high=MOST),
    "seeds": SEEDS,
    "steps": STEPS,
    "batch": COUNT,
    "seed": Bound(kind="int", low=0, high=2**31 - 1),
    "sampler": Bound(kind="name", names=SAMPLERS),
    "pruner": Bound(kind="name", names=PRUNERS),
    "max_retries": Bound(kind="int", low=0, high=1_000_000),
    "max_failures": COUNT,
    "parallel": PARALLEL,
}


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search with nothing left open; fields as in `Request`, except these.

    Attributes:
        study: its name.
        location: where it lives.
        space: with every entry resolved.
        first: the point of habit: what one would have picked without a search.
        enqueued: schedules that come before it, trial 0 and so on.
    """

    study: str
    location: Location
    space: Space
    first: Mapping[str, Value]
    enqueued: tuple[Schedule, ...] = ()
    steps: int
    batch: int
    trials: int
    timeout: float | None
    trial_timeout: float | None
    max_retries: int
    max_failures: int
    seeds: int
    seed: int
    sampler: str
    pruner: str
    slots: int | str | None
    parallel: int | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A search as it is asked for.

    Attributes:
        space: ranges over fields of a Schedule.
        steps: updates of a run (of the first batch size); None takes the objective's.
        batch: samples of the first update; None takes the objective's.
        trials: ended trials in total, those of earlier calls included.
        timeout: seconds or a duration after which no further trial begins, or None.
        trial_timeout: seconds or a duration that a run may take, or None.
        max_retries: how often a trial is begun again after its process has died.
        max_failures: failed trials in a row that end the search.
        seeds: runs a trial, whose mean is its value.
        seed: of the study.
        sampler: one of `SAMPLERS`.
        pruner: one of `PRUNERS`.
        slots: runs in flight, for objectives that advance several at once; `auto` measures
            which number is fastest, None takes the objective's usual one.
        parallel: runs in flight on all machines together that a new study is founded for; None is
            those of this call.
        enqueue: schedules to try before all others, such as the one in use today; they may lie
            outside the space, and then teach the sampler nothing.
        study: its name; None is OBJECTIVE-SPACE.
        storage: its journal file, or a database's URL; None is `lrsearch-studies/STUDY.journal`.

    Raises:
        RequestError: a value is out of range, or a name is unsafe.
    """

    space: Space
    steps: int | None = None
    batch: int | None = None
    trials: int = 100
    timeout: float | str | None = None
    trial_timeout: float | str | None = None
    max_retries: int = 3
    max_failures: int = 3
    seeds: int = 1
    seed: int = 0
    sampler: str = "auto"
    pruner: str = "divergence"
    slots: int | str | None = None
    parallel: int | None = None
    enqueue: Sequence[Schedule | str | Path] = ()
    study: str | None = None
    storage: str | Path | None = None

    def __post_init__(self) -> None:
        for name, bound in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None or name not in ("steps", "batch"):
                object.__setattr__(self, name, bound.check(name, value))
        for name in ("timeout", "trial_timeout"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, parse_duration(str(getattr(self, name))))
        if self.slots not in (None, AUTO):
            object.__setattr__(self, "slots", _parse_slots(self.slots))
        object.__setattr__(self, "enqueue", _check_queue(self.enqueue))
        Location.of("study" if self.study is None else self.study, self.storage)

    @property
    def queue(self) -> tuple[Schedule, ...]:
        """The schedules of `enqueue`."""
        return tuple(s for s in self.enqueue if isinstance(s, Schedule))

    def resolve(self, setup: Setup) -> Search:
        """Fills what was left open from the objective.

        Raises:
            RequestError: the space reaches too far for the budget, no peak is known, or several
                seeds are asked of an objective that has none.
        """
        if setup.exact and self.seeds > 1:
            raise RequestError(
                f"objective {setup.name} is exact: every seed gives the same value; leave seeds "
                "at 1"
            )
        if setup.slots is not None and self.slots is not None:
            raise RequestError(
                f"objective {setup.name} has no slots to set: it "
                + ("answers exactly" if setup.exact else "trains one run at a time")
                + "; leave slots out"
            )
        if setup.exact and self.trial_timeout is not None:
            raise RequestError(
                f"objective {setup.name} answers exactly and at once; leave trial_timeout out"
            )
        space = self.space.with_defaults(setup.entries)
        steps, batch = self.steps or setup.steps, self.batch or setup.batch
        if "peak" not in space.entries:
            raise RequestError(
                f"neither space {space.name} nor objective {setup.name} has a range of peak; set "
                "one with --set peak=LOW..HIGH"
            )
        largest = space.check_budget(steps, batch, setup.momentum)
        if setup.samples is not None and largest > setup.samples:
            raise RequestError(
                f"a batch of {largest} exceeds the {setup.samples} samples of objective "
                f"{setup.name}; lower batch or batch_growth"
            )
        for schedule in self.queue:  # one that has no plan is refused before anything starts
            schedule.plan(steps, batch, momentum=setup.momentum)
        study = f"{setup.name}-{space.name}" if self.study is None else self.study
        usual = {} if setup.habit_peak is None else {"peak": setup.habit_peak}
        return Search(
            study=study,
            location=Location.of(study, self.storage),
            space=space,
            first=space.habit(usual),
            enqueued=self.queue,
            steps=steps,
            batch=batch,
            trials=self.trials,
            timeout=None if self.timeout is None else float(self.timeout),
            trial_timeout=None if self.trial_timeout is None else float(self.trial_timeout),
            max_retries=self.max_retries,
            max_failures=self.max_failures,
            seeds=self.seeds,
            seed=self.seed,
            sampler=self.sampler,
            pruner=self.pruner,
            slots=self.slots,
            parallel=self.parallel,
        )


@dataclass(frozen=True, kw_only=True)
class ComparisonSpec:
    """A comparison as it is asked for.

    Attributes:
        top: how many of the best trials are considered.
        seeds: fresh seeds of the selection, and as many of the report.
        grid: peaks on which every schedule is tuned.
        against: baselines: names of `lrsearch.baselines.BASELINES`, Schedules, or .json files of
            Schedules; empty is all names. Read as pairs of a name and a Schedule or None.
        frugal: keep to as many runs as the study has trials where a run takes long.

    Raises:
        RequestError: a value is out of range, or a baseline is unknown.
    """

    top: int = 5
    seeds: int = 10
    grid: int = 9
    against: Sequence[Any] = ()
    frugal: bool = False

    def __post_init__(self) -> None:
        for name, bound in _COMPARISON_BOUNDS.items():
            object.__setattr__(self, name, bound.check(name, getattr(self, name)))
        given = (self.against,) if isinstance(self.against, str | Schedule) else self.against
        named = dict(_name_baseline(i, rival) for i, rival in enumerate(given))
        if len(named) < len(given):
            raise RequestError("against names a baseline twice; keep one")
        object.__setattr__(self, "against", tuple(named.items()))


def _name_baseline(index: int, given: object) -> tuple[str, Schedule | None]:
    if isinstance(given, Schedule):
        return f"schedule {index + 1}", given
    if isinstance(given, str) and given.endswith(".json"):
        path = Path(given)
        taken = path.stem in BASELINES or path.stem.startswith("trial")  # candidates' names
        return (path.name if taken else path.stem), Schedule.load(path)
    if not isinstance(given, str) or given not in BASELINES:
        hint = closest(given, BASELINES) if isinstance(given, str) else ""
        raise RequestError(f"there is no baseline {given!r}{hint}; or a Schedule's .json file")
    return given, None


def _check_queue(given: object) -> tuple[Schedule, ...]:
    single = isinstance(given, str) or not isinstance(given, Sequence)
    queue = []
    for one in (given,) if single else tuple(given):  # type: ignore[arg-type]
        schedule = Schedule.load(Path(one)) if isinstance(one, str | Path) else one
        if not isinstance(schedule, Schedule):
            raise RequestError(f"enqueue holds {schedule!r}; give Schedules or .json files")
        queue.append(schedule)
    return tuple(queue)


def _parse_slots(given: object) -> int:
    number = int(given) if isinstance(given, str) and given.isdecimal() else given
    if isinstance(number, str):
        raise RequestError(f"slots is {given!r}; give {AUTO} or {SLOTS}")
    return int(SLOTS.check("slots", number))


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `2h` or `1.5d`.

    Raises:
        RequestError: it is no duration, or not above 0.
    """
    match = DURATION.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise RequestError(f"{text!r} is no duration; give 90s, 15m, 2h or 1.5d")
    return float(match[1]) * SECONDS[match[2] or "s"]
