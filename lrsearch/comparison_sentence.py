"""The answer of a comparison as a sentence, and how schedules and differences are written."""

from __future__ import annotations

from lrsearch.contender import CURRENT, DEFAULT, Contender
from lrsearch.stats import PairedTest, percent


def name_of(contender: Contender) -> str:
    """Return an alternative's name and peak, such as `tuned cosine with peak 0.2`."""
    peak = f"with peak {contender.schedule.peak:.3g}"
    if contender.name == CURRENT:
        return f"your current schedule {peak}"
    if contender.name.startswith(CURRENT):
        return f"your current schedule with its peak tuned to {contender.schedule.peak:.3g}"
    if contender.name == DEFAULT:
        return f"the default schedule {peak}"
    return f"{'tuned ' * (len(contender.peaks) > 1)}{contender.name} {peak}"


def sentence_of(
    searched: Contender,
    rival: Contender,
    test: PairedTest,
    evidence: str,
    unit: str,
    needed: int | None,
) -> str:
    """Return the answer of a comparison as a sentence.

    Args:
        searched: the searched schedule.
        rival: the best alternative.
        test: the test of the searched schedule against it.
        evidence: one of `lrsearch.comparison.EVIDENCE`.
        unit: unit of the values.
        needed: number of seeds that would decide, or None.
    """
    named, ours = name_of(rival), f"the searched schedule with peak {searched.schedule.peak:.3g}"
    if searched.schedule == rival.schedule:
        return f"Use {named}. The best schedule of the search is the same."
    if test.difference is None:
        return _diverged(searched, rival, evidence)
    size = show_percent(abs(test.difference), rival.value) or f"{abs(test.difference):.3g} {unit}"
    interval = _interval(test, rival, unit)
    side = "worse" if test.difference > 0 else "better"
    ranked = test.test == "signed ranks" and evidence in ("better", "worse")
    if ranked or (evidence == "behind" and test.diverged[0] > test.diverged[1]):
        chosen = ours if evidence == "better" else named
        return (
            f"Use {chosen}. The searched schedule diverged on {test.diverged[0]} of {test.seeds} "
            f"seeds, {rival.name} on {test.diverged[1]}; on the others it is {size} {side}."
        )
    if evidence == "better":
        return f"Use {ours}: {size} lower than {named}{interval}."
    if evidence == "worse":
        return f"Use {named}. The searched schedule is {size} worse{interval}."
    if evidence == "leading" and test.explained:
        return (
            f"Use {ours}: it is {size} lower than {named} on {test.seeds} seeds, but a better "
            f"peak for {rival.name} could explain this."
        )
    if evidence == "leading":
        more = "" if needed is None else f"; about {needed} seeds would settle it"
        return (
            f"Use {ours}: it is ahead of {named} by {size} on {test.seeds} seeds, but not shown "
            f"better{more}."
        )
    sure = "within noise" if test.verdict == "not distinguishable" else "not tested"
    return f"Use {named}. The searched schedule is {size} {side}, {sure}."


def _diverged(searched: Contender, rival: Contender, evidence: str) -> str:
    """Return the sentence if no seed finished with both schedules."""
    named, ours = name_of(rival), f"the searched schedule with peak {searched.schedule.peak:.3g}"
    if searched.value is None and rival.value is None:
        return f"Every seed diverged, with the searched schedule and with {named}."
    if rival.value is None:
        return f"Use {ours}: every seed diverged with {named}."
    if searched.value is None:
        return f"Use {named}: every seed diverged with the searched schedule."
    use = ours if evidence in ("better", "leading") else named
    return f"Use {use}, which diverged less often; no seed finished with both schedules."


def _interval(test: PairedTest, rival: Contender, unit: str) -> str:
    """Return the interval of the difference from the best alternative, without its sign."""
    interval = test.interval
    if interval is None or interval[0] < 0 < interval[1]:
        return ""
    low, high = sorted(abs(end) for end in interval)
    shares = [show_percent(end, rival.value) for end in (low, high)]
    if all(shares):
        return f" (95 % interval: {shares[0].removesuffix(' %')} to {shares[1]})"
    return f" (95 % interval: {low:.2g} to {high:.2g} {unit})"


def show_percent(difference: float, value: float | None, sign: str = "") -> str:
    """Return a difference as a percentage of a value, as text with two digits.

    Empty if the value is 0 or missing, or if the percentage has four digits.
    """
    share = percent(difference, value)
    if share is None or abs(share) >= 1000:
        return ""
    return f"{share:{sign}.0f} %" if abs(share) >= 99.5 else f"{share:{sign}.2g} %"
