"""When a comparison on paired seeds may stop, and what it has then shown.

The seeds are looked at up to four times, at equal shares of their number. Each look has its own
level. For normal differences, the probability of a false verdict at any look is .04 (simulated by
`tests/bench/boundaries.py`; for other distributions it is measured in
`tests/bench/comparison.py`). The levels grow with the cube of the share, so early looks cost
little power: a group-sequential test with alpha spending (Lan and DeMets 1983). The remaining .01
is for later extensions, each with twice as many seeds as the one before. So the probability of a
false verdict is at most .05 in all, however often a comparison is extended.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lrsearch.stats import ALPHA, VERDICTS, PairedTest, detectable, mean, mean_interval, paired_p

#: Probability of a false verdict at the planned looks, and at all extensions together.
ALPHA_OF_LOOKS, ALPHA_OF_EXTENSIONS = 0.04, 0.01
#: Smallest number of seeds of a look, unless fewer are planned. A t test of three is too weak.
FEWEST_AT_LOOK = 4
#: From this share of the seeds on, a comparison stops if the p-value is above `HOPELESS`. A
#: convention. It lowers the probability of a false verdict, and the power by less than .01.
FUTILE_FROM, HOPELESS = 0.5, 0.5

#: The constant of the levels for 3, 4, ... seeds, made by `tests/bench/boundaries.py`. For more
#: seeds than are listed, the last one is used, which is too small by at most 2 %.
CONSTANTS: tuple[float, ...] = (
    *(0.04, 0.04, 0.0516, 0.0552, 0.0569, 0.0488, 0.0516, 0.0527, 0.0552, 0.0504),
    *(0.0519, 0.0528, 0.0543, 0.0509, 0.0523, 0.0532, 0.054, 0.0516, 0.0527, 0.0533),
    *(0.0542, 0.0521, 0.0529, 0.0534, 0.0544, 0.0524, 0.0534, 0.0536, 0.0544, 0.0526),
    *(0.0533, 0.0538, 0.0544, 0.0529, 0.0535, 0.0538, 0.0545, 0.0532, 0.0537, 0.0538),
    *(0.0544, 0.053, 0.0539, 0.0541, 0.0547, 0.0536, 0.0539, 0.0541, 0.0545, 0.0534),
    *(0.0542, 0.0543, 0.0547, 0.0537, 0.0539, 0.0542, 0.0546, 0.0538, 0.0541, 0.0542),
    *(0.0547, 0.0537),
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at the seeds of a comparison.

    Attributes:
        seeds: number of seeds that are looked at.
        level: two-sided p-value up to which a difference is shown.
    """

    seeds: int
    level: float


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The looks of a comparison, all planned before its first seed.

    Attributes:
        seeds: planned number of seeds; 0 for a single look at all seeds at the level .05, which
            comparisons of earlier versions had.
        extended: number of extensions; each doubles the number of seeds.
        spent: number of earlier comparisons and extensions of the same study. After the first
            comparison of a study, each further one is a single look.
    """

    seeds: int
    extended: int = 0
    spent: int = 0

    @property
    def most(self) -> int:
        """Number of seeds of the last look."""
        return self.seeds << self.extended

    def detectable(self) -> float:
        """Return the difference that is shown in four of five comparisons, at most.

        Returns:
            the difference, in standard deviations of a paired difference. The earlier looks are
            left out, which makes it too large by at most 5 %.
        """
        return detectable(self.most, alpha=self.plan()[-1].level)

    @property
    def used(self) -> int:
        """Number of comparisons and extensions of the study, this one included."""
        return 1 + self.spent + self.extended

    def extend(self) -> Looks:
        """Return the looks with one more extension."""
        return dataclasses.replace(self, extended=self.extended + 1)

    def plan(self) -> list[Look]:
        """Return the looks in their order."""
        extensions = [
            Look(seeds=self.seeds * 2**j, level=ALPHA_OF_EXTENSIONS / 2 ** (self.spent + j))
            for j in range(0 if self.spent else 1, self.extended + 1)
        ]
        if self.spent:
            return extensions
        constant = CONSTANTS[min(self.seeds, len(CONSTANTS) + 2) - 3]
        pairs = zip(looks_at(self.seeds), shares(self.seeds), strict=True)
        return [Look(seeds=n, level=constant * share) for n, share in pairs] + extensions

    def limited(self, seeds: int) -> Looks:
        """Return the looks of an opponent with at most this number of planned seeds."""
        return Looks(seeds=min(self.seeds, seeds), extended=self.extended, spent=self.spent)


#: The look of comparisons of earlier versions.
SINGLE = Looks(seeds=0)


def looks_at(seeds: int) -> tuple[int, ...]:
    """Return the numbers of seeds of the looks, at quarters of a planned number."""
    quarters = (math.ceil(j * seeds / 4) for j in range(1, 5))
    return tuple(sorted({n for n in quarters if n >= min(FEWEST_AT_LOOK, seeds)}))


def shares(seeds: int) -> tuple[float, ...]:
    """Return the share of each look in the probability of a false verdict; they add up to 1."""
    ends = [0.0, *((n / seeds) ** 3 for n in looks_at(seeds))]
    return tuple(after - before for before, after in itertools.pairwise(ends))


def paired_test(
    ours: ArrayLike, theirs: ArrayLike, looks: Looks, remainder: float = 0.0
) -> PairedTest:
    """Compare one schedule with a rival at the planned looks, up to the first that decides.

    Args:
        ours: values of the schedule by seed, shape `[n]`; not finite if a seed diverged.
        theirs: values of the rival on the same seeds, at least as many as the first look needs.
            Values after the deciding look are not used.
        looks: the looks.
        remainder: how much the rival's tuned peak may still be improved, in units of the value. A
            schedule is better only if it is better by more than twice this.

    Returns:
        The test at the last look that was made. It is not `complete` if further looks are planned
        and neither decision nor futility ends it.

    Raises:
        RequestError: there are no values.
    """
    x, y = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    n = min(len(x), len(y))
    planned = looks.plan() if looks.seeds else [Look(seeds=n, level=ALPHA)]
    for look in [look for look in planned if look.seeds <= n] or [Look(seeds=n, level=0.0)]:
        found = _look(x[: look.seeds], y[: look.seeds], look, remainder)
        last = look is planned[-1]
        hopeless = not looks.extended and look.seeds >= FUTILE_FROM * looks.seeds
        if last or found.verdict in VERDICTS[:2] or (hopeless and found.p > HOPELESS):
            return found
    return dataclasses.replace(found, complete=False)


def exact_test(ours: ArrayLike, theirs: ArrayLike) -> PairedTest:
    """Compare two values without noise; a run that diverged is worse than any other.

    Args:
        ours: value of the schedule, shape `[1]`; not finite if it diverged.
        theirs: value of the rival, shape `[1]`.
    """
    x, y = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    found = _look(x, y, Look(seeds=1, level=ALPHA), 0.0)
    lost, lost_by_rival = found.diverged
    if lost == lost_by_rival:
        return found
    return dataclasses.replace(found, verdict=VERDICTS[0 if lost < lost_by_rival else 1], p=0.0)


def _look(x: np.ndarray, y: np.ndarray, look: Look, remainder: float) -> PairedTest:
    """Return the test of all values at one look."""
    p, sign, test = paired_p(x, y)
    both = np.isfinite(x) & np.isfinite(y)
    decided = p <= look.level and bool(sign)
    explained = False
    if decided and sign < 0 and remainder > 0:
        guarded, side, _ = paired_p(x + 2 * remainder, y)
        explained = not (side < 0 and guarded <= look.level)
    verdict = 2 if not decided or explained else 0 if sign < 0 else 1
    return PairedTest(
        difference=mean((x[both] - y[both]).tolist()) if both.any() else None,
        interval=mean_interval(x - y, 1 - look.level) if both.all() and test == "t" else None,
        p=p,
        verdict=VERDICTS[verdict],
        diverged=(int((~np.isfinite(x)).sum()), int((~np.isfinite(y)).sum())),
        test=test,
        seeds=len(x),
        level=look.level,
        explained=explained,
    )


def sequence_of_tests(
    ours: ArrayLike,
    against: Mapping[str, ArrayLike],
    looks: Mapping[str, Looks],
    remainders: Mapping[str, float],
) -> dict[str, PairedTest]:
    """Compare one schedule with several rivals, in a fixed sequence at the full level.

    Args:
        ours: values of the schedule by seed, shape `[n]`; not finite if a seed diverged.
        against: values of each rival on the same seeds, by name, in the order of the tests. Rivals
            after the first that is not distinguishable are not tested. The order must not depend
            on these values.
        looks: the looks by name.
        remainders: what is left to gain by tuning each rival's peak, by name; 0 if it is missing.

    Returns:
        one test per rival, by name.

    Raises:
        RequestError: a rival has no values.
    """
    found: dict[str, PairedTest] = {}
    testing = True
    for name, values in against.items():
        # The interval of a schedule that is not tested is that of one look.
        planned = looks[name] if testing else SINGLE
        test = paired_test(ours, values, planned, remainders.get(name, 0.0))
        if not testing:
            test = dataclasses.replace(test, verdict=VERDICTS[3], explained=False)
        testing = testing and test.verdict in VERDICTS[:2]
        found[name] = test
    return found
