"""The tables and remarks of a comparison, for the terminal, HTML and MLflow."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lrsearch.baselines import BASELINES
from lrsearch.comparison import Comparison
from lrsearch.comparison_sentence import show_percent
from lrsearch.contender import SEARCHED, Contender
from lrsearch.stats import ALPHA, PairedTest, bca_interval, mean, sample_skewness

Rows = list[tuple[str, ...]]


def comparison_rows(found: Comparison) -> Rows:
    """Return the table of a comparison: header, searched schedule, then every alternative.

    A difference is searched - alternative, in percent of the alternative's value. The recommended
    schedule is marked with a star, and values are also shown relative to it.
    """
    chosen = found.recommended
    rows = [["schedule", "peak", found.unit, "± 95 %", "vs. *", "searched - it (95 %)", "verdict"]]
    for name, each in found.contenders.items():
        test = found.versus.get(name)
        star = " *" if name == chosen.name else ""
        value = "diverged" if each.value is None else f"{each.value:.4g}"
        low, high = each.interval or (0.0, 0.0)
        apart = "" if star else _show_apart(found.contenders[chosen.name], each)
        rows.append(
            [
                (f"searched ({each.name})" if name == SEARCHED else name) + star,
                f"{each.schedule.peak:.3g}",
                value,
                "" if each.interval is None else f"{(high - low) / 2:.2g}",
                apart,
                "" if test is None else _show_difference(test, each),
                "" if test is None else test.verdict,
            ]
        )
    if found.exact:  # no intervals
        rows = [[cell for i, cell in enumerate(row) if i != 3] for row in rows]
        rows[0][4] = "searched - it"
    seeds = [str(len(each.values)) for each in found.contenders.values()]
    if len(set(seeds)) > 1:
        rows = [[*row, cell] for row, cell in zip(rows, ["seeds", *seeds], strict=True)]
    if any(each.diverged for each in found.contenders.values()):
        lost = [f"{each.diverged}/{len(each.values)}" for each in found.contenders.values()]
        rows = [[*row, cell] for row, cell in zip(rows, ["diverged", *lost], strict=True)]
    return [tuple(row) for row in rows]


def secondary_rows(found: Comparison) -> Rows:
    """Return the table of medians and bootstrap intervals, which no verdict uses."""
    head = ("schedule", "median", "BCa 95 %", "median difference", "BCa 95 %", "peak may gain")
    rows: Rows = [head]
    for name, contender in found.contenders.items():
        median = "diverged" if contender.median is None else f"{contender.median:.4g}"
        row = [name, median, _show_interval(contender.bca, ".4g"), "", ""]
        if name != SEARCHED and not contender.diverged and not found.best.diverged:
            n = min(len(found.best.values), len(contender.values))
            differences = found.best.array[:n] - contender.array[:n]
            row[3] = f"{float(np.median(differences)):+.4g}"
            row[4] = _show_interval(bca_interval(differences), "+.3g")
        row.append(f"{contender.remainder:.2g}" if contender.remainder else "")
        rows.append(tuple(row))
    return rows


def comparison_remarks(found: Comparison) -> list[str]:
    """Return further sentences about a comparison."""
    lines = [line for name, each in found.contenders.items() for line in _of_one(name, each)]
    if found.folded:
        lines.append(
            f"The searched schedule has the shape of {' and '.join(found.folded)}, which is "
            "therefore not listed again."
        )
    if not any(len(each.peaks) > 1 for each in found.baselines):
        lines.append("The peaks were not tuned. This favours the searched schedule.")
        if not {*BASELINES} & found.contenders.keys():
            lines.append(
                "No common schedule was compared; `lrsearch compare` does so, with more runs."
            )
    lines += _doubts(found)
    level = found.looks.plan()[-1].level if found.looks.seeds else ALPHA
    fewest = 1 + math.ceil(math.log2(1 / level))  # the smallest p-value of n ranks is 2^(1-n)
    ranked = any(test.test == "signed ranks" for test in found.versus.values())
    if found.seeds < fewest and ranked and not found.exact:
        lines.append(
            f"With a diverged seed, {found.seeds} seeds are too few to decide; use at least "
            f"{fewest}."
        )
    if any(test.verdict == "not tested" for test in found.versus.values()):
        lines.append(
            "Schedules are tested in a fixed order, up to the first that is not distinguishable; "
            "later ones are not tested."
        )
    if not found.exact and found.recommended.evidence in ("leading", "behind"):
        lines.append(
            "The recommended schedule was chosen by these values, so its own is partly luck: up "
            "to half a standard error too good."
        )
    lines += _robustness(found)
    needed = found.seeds_to_settle
    if needed is not None:
        lines.append(
            f"If the true difference is as large as it looks, about {needed} seeds would be "
            "needed to show it."
        )
    return lines


def _of_one(name: str, contender: Contender) -> Iterator[str]:
    """Yield sentences about one schedule of a comparison."""
    seeds = len(contender.values)
    if contender.value is None:
        yield f"{name}: every seed diverged."
    elif contender.diverged:
        yield (
            f"{name}: {contender.diverged} of {seeds} seeds diverged. The mean excludes them; the "
            "verdict ranks them last."
        )
    if contender.at_edge:
        yield (
            f"{name}: the best peak is at an end of those that were tried; a peak beyond may be "
            "better."
        )


def _doubts(found: Comparison) -> Iterator[str]:
    """Yield what may make a verdict wrong: the peak of an alternative, or skewed differences."""
    for name, test in found.versus.items():
        if test.explained:
            yield (
                f"{name}: the searched schedule is better by more than the seeds explain, but a "
                "better peak of this alternative could explain it."
            )
    test, rival = found.versus[found.best_baseline], found.rival.array
    n = test.seeds
    differences = found.best.array[:n] - rival[:n]
    if test.verdict == "better" and n > 2 and np.isfinite(differences).all():
        skewness = sample_skewness(differences)
        if abs(skewness) > 1:
            yield (
                f"The differences between seeds are skewed (skewness {skewness:.2g}), so the "
                "probability of a false verdict may be above 5 %."
            )


def _robustness(found: Comparison) -> list[str]:
    """Return how far the recommended peak may be changed, from runs at peaks around it.

    A peak counts whose value on the selection seeds is at most one standard error of the reported
    value above that of the recommended peak; for an exact objective, 1 % above it.
    """
    chosen = found.contenders[found.recommended.name]
    known = dict(found.around)
    own = known.get(chosen.schedule.peak)
    values = chosen.array[np.isfinite(chosen.array)]
    if own is None or (not found.exact and len(values) < 2):
        return []
    near = abs(own) / 100 if found.exact else values.std(ddof=1) / np.sqrt(len(values))
    good = [value is not None and value <= own + near for value in known.values()]
    peaks = list(known)
    at = peaks.index(chosen.schedule.peak)
    low = next((i + 1 for i in range(at, -1, -1) if not good[i]), 0)
    high = next((i - 1 for i in range(at, len(peaks)) if not good[i]), len(peaks) - 1)
    within = "1 %" if found.exact else "one standard error"
    tried = f"of the peaks from {peaks[0]:.3g} to {peaks[-1]:.3g} that were tried"
    if low == high:
        return [f"The recommended peak is sensitive: {tried}, no other is within {within}."]
    return [
        f"The recommended schedule is within {within} for peaks from {peaks[low]:.3g} to "
        f"{peaks[high]:.3g}."
    ]


def _show_apart(chosen: Contender, other: Contender) -> str:
    """Return the difference of a schedule from the recommended one on the seeds of both."""
    n = min(len(chosen.values), len(other.values))
    a, b = chosen.array[:n], other.array[:n]
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return ""
    return show_percent(mean((b[both] - a[both]).tolist()), mean(a[both].tolist()), "+")


def _show_difference(test: PairedTest, rival: Contender) -> str:
    """Return a difference and its interval, as percentages of the rival's value if possible."""
    if test.difference is None:
        return ""
    ends = (test.difference, *(test.interval or ()))
    texts, unit = [show_percent(end, rival.value, "+").removesuffix(" %") for end in ends], " %"
    if not all(texts):
        texts, unit = [f"{end:+.3g}" for end in ends], ""
    middle, *outer = texts
    return f"{middle}{unit}{f' ({outer[0]} to {outer[1]}{unit})' if outer else ''}"


def _show_interval(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"
