"""`ComparisonSpec`: the settings of a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.baselines import BASELINES
from lrsearch.bounds import Bound
from lrsearch.contender import CURRENT, CURRENT_TUNED, DEFAULT, SEARCHED
from lrsearch.errors import RequestError, closest
from lrsearch.schedule import Schedule
from lrsearch.study.settings import check_settings, setting

#: Default numbers of trials that compete, and of seeds.
TOP, SEEDS = 5, 20
#: Number of runs of the smallest comparison: two schedules on three seeds.
SMALLEST_PAIR = 6
#: Names of other contenders, which a file cannot have.
RESERVED = (SEARCHED, CURRENT, CURRENT_TUNED, DEFAULT)


@dataclass(frozen=True, kw_only=True)
class ComparisonSpec:
    """The settings of a comparison.

    Attributes:
        top: number of best trials that are considered.
        seeds: largest number of fresh seeds. A study that was compared may be compared with two
            or four times the number.
        runs: largest number of runs of the comparison, with those that are stored; then `top` and
            `seeds` are the largest that fit.
        against: names of `lrsearch.baselines.BASELINES`, Schedules, or .json files of Schedules;
            empty for all baselines, the current and the default schedule.
        frugal: True to use at most the number of runs of the search, if the full comparison would
            take longer than the search and longer than two minutes.
        limit: largest number of runs of the search and its comparisons together; None for no
            limit.
        opponents: `against` by name; None stands for a baseline of this name.

    Raises:
        RequestError: a value is out of range, or a baseline is unknown.
    """

    top: int = setting(
        TOP,
        "Number of best trials that compete.",
        Bound(kind="int", low=1, high=1000),
        metavar="K",
    )
    seeds: int = setting(
        SEEDS,
        "Largest number of fresh seeds per schedule; fewer are run if the verdict is clear early.",
        Bound(kind="int", low=3, high=1000),
        metavar="N",
    )
    runs: int | None = setting(
        None,
        "Largest number of runs of the comparison, in place of numbers of trials and seeds.",
        Bound(kind="int", low=SMALLEST_PAIR, high=1_000_000, optional=True),
        metavar="N",
    )
    against: Sequence[str | Schedule] = setting(
        (),
        "Baseline to compare with: a name or a Schedule's .json file. Repeatable. Default: all "
        "baselines, the current and the default schedule.",
        metavar="NAME|FILE",
        multiple=True,
    )
    frugal: bool = False
    limit: int | None = None
    opponents: tuple[tuple[str, Schedule | None], ...] = field(init=False)

    def key(self, trials: int) -> str:
        """Return a text that is the same for the same request.

        Args:
            trials: number of trials of the study.
        """
        words = (trials, self.top, self.seeds, self.runs, self.limit, self.frugal, self.opponents)
        return hashlib.sha256(repr(words).encode()).hexdigest()[:16]

    def __post_init__(self) -> None:
        check_settings(self)
        if self.runs is not None and (self.top, self.seeds) != (TOP, SEEDS):
            raise RequestError(
                "`runs=` excludes `top=` and `seeds=`; give the number of runs, or these numbers"
            )
        given = (self.against,) if isinstance(self.against, str | Schedule) else self.against
        named = dict(_name_opponent(i, opponent) for i, opponent in enumerate(given))
        if len(named) < len(given):
            raise RequestError("`against=` names a baseline twice; give it once")
        object.__setattr__(self, "opponents", tuple(named.items()))


def _name_opponent(index: int, given: object) -> tuple[str, Schedule | None]:
    if isinstance(given, Schedule):
        return f"schedule {index + 1}", given
    if isinstance(given, str) and given.endswith(".json"):
        path = Path(given)
        taken = path.stem in {*BASELINES, *RESERVED} or path.stem.startswith("trial")
        return (path.name if taken else path.stem), Schedule.load(path)
    if not isinstance(given, str) or given not in BASELINES:
        hint = closest(given, BASELINES) if isinstance(given, str) else ""
        raise RequestError(
            f"there is no baseline {given!r}{hint}; a Schedule's .json file is also allowed"
        )
    return given, None
