"""Escape from a sharp minimum by warm restarts, and from a kink by high rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lrsearch.claims.chapter import check_names, draw
from lrsearch.claims.interval import Interval, apart, wilson
from lrsearch.curves import Curve
from lrsearch.finding import Finding, Line, Panel
from lrsearch.seeding import stream

Gradient = Callable[[Curve], Curve]

COMPARISONS = ("equal budget", "after cooling", "kink")
RUNS, UPDATES, CYCLES = 2_000, 1_000, 5
#: The rate at the end of a cosine cycle (cooled), as a fraction of the peak.
COOLED = 0.01
#: Numbers of further steps after cooling.
FURTHER = (50, 100, 200, 400)


def double_well(x: Curve) -> Curve:
    """Return the slope of a smoothed min(10x², ½(x-2)²-0.3).

    The minimum at 0 is sharp and shallow, the one at 2 is flat and deep.
    """
    ours, theirs = 10 * x**2, 0.5 * (x - 2) ** 2 - 0.3
    share = 1 / (1 + np.exp(np.clip((ours - theirs) / 0.02, -50, 50)))
    return np.asarray(share * 20 * x + (1 - share) * (x - 2))


def kinked(x: Curve) -> Curve:
    """Return the slope of |x| up to a ridge at 0.3, then of a descent to a flatter kink at 2."""
    return np.where(x < 0.3, np.sign(x), np.where(x < 2, -0.5, 0.5))


#: Losses: the slope, the position of the ridge, the peak rate, and the standard deviation of the
#: gradient noise.
LOSSES: dict[str, tuple[Gradient, float, float, float]] = {
    "double well": (double_well, 1 / 3, 0.045, 3.0),
    "kinked loss": (kinked, 0.3, 0.1, 1.0),
}


def restarts(
    *,
    comparisons: Sequence[str] = COMPARISONS,
    heights: Sequence[float] = (1.0, 0.7, 0.25),
    further: Sequence[int] = FURTHER,
    seed: int = 0,
) -> Finding:
    """Count how often SGD leaves a sharp shallow minimum, by simulation in one dimension.

    The chapter: warm restarts escape sharp shallow minima, and a high rate crosses kinks. This is
    true, but it depends on the control. At equal peak and budget, n cycles have the same rates as
    one cycle in another order, and the numbers of escapes are not distinguishable. After cooling
    in the sharp minimum, a restart to the full peak escapes more often than a run that stays
    cooled; a low restart does not. Every case is decided by Wilson's 95 % intervals. The losses
    are examples and prove nothing general. Source: Loshchilov & Hutter 2017, arXiv 1608.03983.

    Args:
        comparisons: comparisons to run, `equal budget`, `after cooling` and `kink`.
        heights: peaks of the restarts, as fractions of the first peak.
        further: numbers of steps after cooling, increasing; the last decides the case.
        seed: seed of the gradient noise.

    Raises:
        RequestError: a comparison is unknown.
    """
    check_names("comparison", comparisons, COMPARISONS)
    cases: dict[str, bool] = {}
    figures: dict[str, float | Interval] = {}
    if "equal budget" in comparisons:
        found = _equal_budget(seed)
        for name, escaped in found.items():
            _note(figures, f"double_well_{name}", escaped)
        cases[f"double well, {CYCLES} cycles vs. 1 at equal peak and budget"] = _more(
            found["n_cycles"], found["one_cycle"]
        )
    panels = tuple(
        _after_cooling(name, heights, further, seed, cases, figures)
        for name, wanted in (("double well", "after cooling"), ("kinked loss", "kink"))
        if wanted in comparisons
    )
    if "kink" in comparisons:
        high, low = (_fixed_rate(share, seed) for share in (1.0, 0.1))
        _note(figures, "kinked_loss_high_rate", high)
        _note(figures, "kinked_loss_low_rate", low)
        cases["kinked loss, a constant high rate vs. a tenth of it"] = _more(high, low)
    return Finding(cases=cases, figures=figures, panels=panels)


def _note(figures: dict[str, float | Interval], name: str, escaped: int) -> None:
    figures |= {name: escaped / RUNS, f"{name}_interval": wilson(escaped, RUNS)}


def _more(escaped: int, others: int) -> bool:
    """Return True if significantly more runs escaped than others, by their intervals."""
    return apart(wilson(escaped, RUNS), wilson(others, RUNS))


def _escapes(loss: str, rates: Curve, rng: np.random.Generator) -> int:
    """Count the runs of SGD, of `RUNS` from the sharp minimum, that end beyond the ridge.

    Args:
        loss: a key of `LOSSES`.
        rates: learning rates, shape `[T]`.
        rng: generator of the gradient noise.
    """
    gradient, ridge, _, noise = LOSSES[loss]
    x = np.zeros(RUNS)
    for rate in rates:
        x -= rate * (gradient(x) + noise * rng.standard_normal(RUNS))
    return int(np.sum(x > ridge))


def _equal_budget(seed: int) -> dict[str, int]:
    """Count escapes under one cosine cycle, several cycles and a constant rate, at equal peak."""
    peak = LOSSES["double well"][2]
    once = draw("cosine", UPDATES, peak, 0.0)
    schedules = {
        "one_cycle": once,
        # Each cycle has every n-th rate of the one cycle: together a permutation of its rates.
        "n_cycles": np.concatenate([once[i::CYCLES] for i in range(CYCLES)]),
        "constant": draw("constant", UPDATES, peak, peak),
    }
    return {
        name: _escapes("double well", rates, stream(seed, "equal budget", i))
        for i, (name, rates) in enumerate(schedules.items())
    }


def _fixed_rate(share: float, seed: int) -> int:
    rates = np.full(UPDATES, share * LOSSES["kinked loss"][2])
    return _escapes("kinked loss", rates, stream(seed, "fixed rate", int(100 * share)))


def _after_cooling(
    loss: str,
    heights: Sequence[float],
    further: Sequence[int],
    seed: int,
    cases: dict[str, bool],
    figures: dict[str, float | Interval],
) -> Panel:
    """Compare restarts with staying cooled for the same steps; add to `cases` and `figures`."""
    peak = LOSSES[loss][2]
    low = COOLED * peak
    lines, last = [], {}
    for height in (0.0, *heights):
        keys = [(list(LOSSES).index(loss), int(100 * height), updates) for updates in further]
        counts = [
            _escapes(
                loss,
                draw("cosine", updates, max(height * peak, low), low),
                stream(seed, "after cooling", *key),
            )
            for updates, key in zip(further, keys, strict=True)
        ]
        low_ends, high_ends = zip(*(wilson(count, RUNS) for count in counts), strict=True)
        lines.append(
            Line(
                label=f"restart to {height:g} x peak" if height else "stays cooled",
                x=tuple(further),
                y=tuple(count / RUNS for count in counts),
                style="band",
                low=low_ends,
                high=high_ends,
            )
        )
        last[height] = counts[-1]
        word = f"restart_{height:g}" if height else "cooled"
        for updates, count in ((further[0], counts[0]), (further[-1], counts[-1])):
            _note(figures, f"{loss.replace(' ', '_')}_{word}_{updates}", count)
    for height in heights:
        cases[f"{loss}, restart to {height:g} x peak vs. staying cooled"] = _more(
            last[height], last[0.0]
        )
    return Panel(
        title=f"{loss}: escapes from the sharp minimum",
        x="steps after cooling",
        y="probability of escape",
        lines=tuple(lines),
    )
