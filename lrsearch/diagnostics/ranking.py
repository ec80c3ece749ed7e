"""The trials of a study sorted by a diagnostic, and its correlation with their value."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.diagnostics.names import DIAGNOSTICS
from lrsearch.errors import RequestError, closest
from lrsearch.outcome import Trial
from lrsearch.result import Result

#: Smallest number of trials for which a correlation is computed.
FEWEST_TRIALS = 4


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Finished trials in ascending order of a diagnostic.

    Attributes:
        name: name of the diagnostic.
        about: its meaning and its pitfalls; empty for a figure that the objective noted.
        trials: the trials that have it.
        correlation: Spearman's rank correlation of the diagnostic with the value; None if there
            are too few trials, if one of the two is constant, or if the diagnostic is the value.
    """

    name: str
    about: str
    trials: tuple[Trial, ...]
    correlation: float | None


def rank_by(result: Result, name: str) -> Ranking:
    """Sort the finished trials of a study by a diagnostic.

    Args:
        result: result of the study.
        name: name of the diagnostic, or `value`.

    Raises:
        NothingFinished: no trial finished.
        RequestError: no finished trial has a diagnostic of that name.
    """
    _ = result.best
    figures = {t.index: {**t.diagnostics, "value": float(t.value or 0)} for t in result.ranked}
    have = sorted(
        (trial for trial in result.ranked if name in figures[trial.index]),
        key=lambda trial: (figures[trial.index][name], trial.index),
    )
    if not have:
        if name in DIAGNOSTICS:
            raise RequestError(
                f"study {result.study} has no {name}: it was not measured, or does not apply; "
                'search under another `study=` with `diagnostics="full"`'
            )
        known = {known for each in figures.values() for known in each}
        raise RequestError(
            f"study {result.study} has no diagnostic {name!r}{closest(name, known)}"
        )
    pairs = [(figures[t.index][name], figures[t.index]["value"]) for t in have]
    return Ranking(
        name=name,
        about=DIAGNOSTICS.get(name, ""),
        trials=tuple(have),
        correlation=_spearman(pairs) if name != "value" else None,
    )


def _spearman(pairs: list[tuple[float, float]]) -> float | None:
    columns = list(zip(*pairs, strict=True))
    if len(pairs) < FEWEST_TRIALS or any(len(set(column)) == 1 for column in columns):
        return None
    from scipy import stats  # the import takes 1 s

    return float(stats.spearmanr(*columns).statistic)
