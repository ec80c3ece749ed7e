"""Do restarts leave a sharp minimum, and do high rates cross kinks?"""

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
#: The rate of a run that has cooled, as a fraction of its peak.
COOLED = 0.01
FURTHER = (50, 100, 200, 400)


def double_well(x: Curve) -> Curve:
    """Slope of a smoothed min(10x², ½(x-2)²-0.3): sharp and shallow at 0, flat and deep at 2."""
    ours, theirs = 10 * x**2, 0.5 * (x - 2) ** 2 - 0.3
    share = 1 / (1 + np.exp(np.clip((ours - theirs) / 0.02, -50, 50)))
    return np.asarray(share * 20 * x + (1 - share) * (x - 2))


def kinked(x: Curve) -> Curve:
    """Slope of |x| up to a ridge at 0.3, then down with slope -½ to a flatter kink at 2."""
    return np.where(x < 0.3, np.sign(x), np.where(x < 2, -0.5, 0.5))


#: Loss: its slope, where the ridge is, the peak rate, and the deviation of the gradient's noise.
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
    """How often SGD leaves a sharp shallow minimum, by simulation in one dimension.

    The chapter: warm restarts escape sharp shallow minima, and a high rate crosses kinks. True,
    but only a fair control shows it. At equal peak and budget the rates of n cycles are those of
    one cycle in another order, and the escapes are not distinguishable. From the sharp minimum,
    after cooling, a restart as high as the first peak escapes where a run that stays cooled does
    not; a low restart does not either. Every case is decided by Wilson's 95 % intervals. The
    losses are examples, not a theorem. Source: Loshchilov & Hutter 2017, arXiv 1608.03983.

    Args:
        comparisons: which of `equal budget`, `after cooling` and `kink` to run.
        heights: of the restarts, as fractions of the peak.
        further: updates after the cooling, increasing; the last decides.
        seed: of the gradient's noise.

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
        cases[f"double well, {CYCLES} cycles against 1 at equal peak and budget"] = _more(
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
        cases["kinked loss, a constant high rate against a tenth of it"] = _more(high, low)
    return Finding(cases=cases, figures=figures, panels=panels)


def _note(figures: dict[str, float | Interval], name: str, escaped: int) -> None:
    figures |= {name: escaped / RUNS, f"{name}_interval": wilson(escaped, RUNS)}


def _more(escaped: int, others: int) -> bool:
    """Whether more runs escaped than others, by their intervals."""
    return apart(wilson(escaped, RUNS), wilson(others, RUNS))


def _escapes(loss: str, rates: Curve, rng: np.random.Generator) -> int:
    """How many of `RUNS` runs of SGD that start in the sharp minimum end beyond the ridge.

    Args:
        loss: a key of `LOSSES`.
        rates: shape `[T]`.
        rng: draws the gradient's noise.
    """
    gradient, ridge, _, noise = LOSSES[loss]
    x = np.zeros(RUNS)
    for rate in rates:
        x -= rate * (gradient(x) + noise * rng.standard_normal(RUNS))
    return int(np.sum(x > ridge))


def _equal_budget(seed: int) -> dict[str, int]:
    """Escapes under one cosine cycle, several of the same peak, and a constant rate."""
    peak = LOSSES["double well"][2]
    once = draw("cosine", UPDATES, peak, 0.0)
    schedules = {
        "one_cycle": once,
        # every n-th rate of the one cycle, n times over: exactly a permutation of its rates
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
    """Restart against staying cooled for the same further updates; fills in the results."""
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
                label=f"restart to {height:g} of the peak" if height else "stays cooled",
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
        cases[f"{loss}, restart to {height:g} of the peak against staying cooled"] = _more(
            last[height], last[0.0]
        )
    return Panel(
        title=f"{loss}: escapes from the sharp minimum",
        x="further updates after cooling",
        y="probability",
        lines=tuple(lines),
    )
