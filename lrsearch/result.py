"""`Outcome`, `Trial`, `Result`: results of runs, trials and studies, as frozen records.

A run that diverges is an outcome like any other; failure is a value here, not an exception.
Records contain no infinite or NaN numbers, so they survive a round trip through JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrsearch.comparison import Comparison, Recommended
from lrsearch.contender import SEARCHED
from lrsearch.errors import NothingFinished, RequestError, closest
from lrsearch.outcome import STATES, Trial
from lrsearch.ranges import Entry
from lrsearch.schedule import FIELDS, Budget, Schedule


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a study.

    Attributes:
        study, objective, space, unit: names, and the unit of the value.
        budget: steps and batch of every run.
        seconds: wall time of this call, without earlier calls that it continued; of a study that
            was loaded, the time of all its runs.
        storage, tracking_uri: where the study is stored and tracked.
        run_id: MLflow's parent run, or None.
        trials: trials in the order of their index.
        entries: the search space, by field.
        command: the command line that was run, with its placeholders; empty for other objectives.
        optimum: the best possible value if it is known.
        enqueued: number of enqueued trials, which come first; the default schedule is the next.
        current: True if the first of them is the user's current schedule.
        comparison: the comparison on fresh seeds, or None.
        source: the objective, if it was loaded in this process; `lrsearch.compare` uses it.

    Example:
        >>> result = lrsearch.tune("quadratic", trials=3, steps=50, tracking_uri="none")
        >>> result.counts["finished"] + result.counts["diverged"]
        3
        >>> result.to_frame()["value"].idxmin() == result.best.index
        True
    """

    study: str
    objective: str
    space: str
    unit: str
    budget: Budget
    seconds: float
    storage: str
    tracking_uri: str | None
    run_id: str | None
    trials: tuple[Trial, ...]
    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False, compare=False)
    command: str = ""
    optimum: float | None = None
    enqueued: int = 0
    current: bool = False
    comparison: Comparison | None = None
    source: Any = field(default=None, repr=False, compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by state; the keys are exactly `STATES`."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in STATES}

    @property
    def counted(self) -> int:
        """Number of trials that count towards the requested number: all that did not fail."""
        return len(self.trials) - self.counts["failed"]

    @property
    def ranked(self) -> list[Trial]:
        """The finished trials, best first; equal values are sorted by index."""
        finished = [(t.value, t.index, t) for t in self.trials if t.value is not None]
        return [trial for _, _, trial in sorted(finished, key=lambda row: row[:2])]

    def trial(self, index: int) -> Trial:
        """Return the trial of an index.

        Raises:
            RequestError: there is no such trial.
        """
        for trial in self.trials:
            if trial.index == index:
                return trial
        raise RequestError(
            f"study {self.study} has no trial {index}; its {len(self.trials)} trials are numbered "
            "from 0"
        )

    @property
    def best(self) -> Trial:
        """The trial with the lowest value.

        Raises:
            NothingFinished: no trial finished.
        """
        if not self.ranked:
            raise NothingFinished(self._why_nothing_finished())
        return self.ranked[0]

    @property
    def recommended(self) -> Recommended:
        """The schedule to use; without a comparison, that of the best trial.

        Raises:
            NothingFinished: no trial finished.
        """
        if self.comparison is not None:
            return self.comparison.recommended
        best = self.best
        return Recommended(
            name=SEARCHED,
            schedule=best.schedule,
            value=best.value,
            evidence="not compared",
            sentence=f"Best of {self.counted} trials: {best.value:.4g} {self.unit} (trial "
            f"{best.index}, peak {best.schedule.peak:.3g}). It was not compared, and the best of "
            "several trials is partly luck.",
        )

    def named(self, name: str) -> Schedule:
        """Return a schedule of the study by its name.

        Args:
            name: `recommended`, `searched`, `trial:N`, a name of the comparison such as `cosine`,
                or a name of `firsts` such as `current` or `default`.

        Raises:
            RequestError: there is no such schedule.
            NothingFinished: no trial finished.
        """
        if name == "recommended":
            return self.recommended.schedule
        found = {n: t.schedule for n, t in self.firsts.items()}
        if self.comparison is not None:
            found |= {n: each.schedule for n, each in self.comparison.contenders.items()}
        found.setdefault(SEARCHED, self.best.schedule)
        word, _, index = name.partition(":")
        if word == "trial" and index.isdecimal():
            return self.trial(int(index)).schedule
        if name not in found:
            known = ["recommended", *found, "trial:N"]
            hint = closest(name, known)
            raise RequestError(f"study {self.study} has no schedule {name!r}{hint}")
        return found[name]

    def _why_nothing_finished(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n)
        said = f"no trial of study {self.study} finished ({counts or 'no trial ended'})"
        if not self.trials:
            return f"{said}; run the same `lrsearch tune` command again to continue"
        last = f"{said}; reason of the last: {self.trials[-1].reason}"
        if self.counts["failed"]:
            return f"{last}; fix the error and run the same command again; it retries them"
        lower = '`settings={"peak": {"low": LOW, "high": HIGH}}`'
        return (
            f"{last}; lower the range of the peak with {lower}, or, if healthy runs have such "
            'losses, set loss_decreases=False in the objective or `pruner="none"` here'
        )

    @property
    def firsts(self) -> dict[str, Trial]:
        """The trials that came first, by name: the current, enqueued and default schedules."""
        known = {trial.index: trial for trial in self.trials}
        count = self.enqueued - self.current
        names = ["current"] if self.current else []
        names += [f"enqueued {i + 1}" if i else "enqueued" for i in range(count)]
        return {n: known[i] for i, n in enumerate([*names, "default"]) if i in known}

    def to_frame(self) -> Any:
        """Return the trials as a pandas DataFrame, one row per trial.

        Columns: `state`, `value`, `seconds`, `retries`, `reason`, the schedule's fields, and
        diagnostics.
        """
        import pandas as pd  # installed with MLflow; the import takes half a second

        own = ("state", "value", "seconds", "retries", "reason")
        rows = [
            {
                "trial": trial.index,
                **{name: getattr(trial, name) for name in own},
                **trial.schedule.to_dict(),
                **trial.diagnostics,
            }
            for trial in self.trials
        ]
        names = None if rows else ["trial", *own, *FIELDS]
        return pd.DataFrame(rows, columns=names).set_index("trial").astype({"value": "float64"})

    @property
    def reference(self) -> dict[str, float] | None:
        """The best possible value, and the ratio of the best value to it; None if unknown."""
        if self.optimum is None or self.best.value is None:
            return None
        return {"optimum": self.optimum, "ratio": self.best.value / self.optimum}

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `--json` prints.

        Raises:
            NothingFinished: no trial finished.
        """
        best = self.best
        return {
            "study": self.study,
            "objective": self.objective,
            "space": self.space,
            "unit": self.unit,
            "steps": self.budget.steps,
            "seconds": round(self.seconds, 3),
            "storage": self.storage,
            "tracking_uri": self.tracking_uri,
            "run_id": self.run_id,
            "runs": {
                "search": sum(len(trial.outcomes) for trial in self.trials),
                "comparison": 0 if self.comparison is None else self.comparison.runs,
            },
            "trials": self.counts,
            "recommended": self.recommended.to_dict(),
            "best": {
                "trial": best.index,
                "value": best.value,
                "schedule": best.schedule.to_dict(),
                "diagnostics": best.diagnostics,
            },
            "reference": self.reference,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }
