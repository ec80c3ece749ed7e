"""Progress of a search on stderr: trials done, best value, pruned, diverged, time left."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lrsearch.cli.wording import as_options
from lrsearch.outcome import Trial
from lrsearch.result import Result
from lrsearch.search.callbacks import Callback

if TYPE_CHECKING:
    from lrsearch.search.comparison_choice import Offer


class Progress(Callback):
    """A progress bar that listens to a search.

    Args:
        quiet: show nothing.
        first: a line to print first, or nothing.

    Attributes:
        ended: number of trials that ended during this command.
        offers: comparisons that would take long and were not run.
    """

    def __init__(self, *, quiet: bool, first: str = "") -> None:
        self.ended = 0
        self.offers: Sequence[Offer] = ()
        self._quiet, self._first, self._budget = quiet, first, ""
        self._bar: Any = None
        self._states: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._best = math.inf

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def planned(self, budget: str) -> None:
        """Keep how a budget is divided, to print it when the search begins."""
        self._budget = budget

    def begin(self, result: Result, total: int) -> None:
        """Start the bar at the number of trials that the study already has."""
        if self._quiet or result.counted >= total:
            return
        for trial in result.trials:
            self._count(trial)
        for line in filter(None, (self._first, self._budget)):
            print(line, file=sys.stderr)
        self._open(result.study, "trial", total, result.counted)

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """Advance the bar by one trial."""
        self.ended += 1
        if self._bar is None:
            return
        self._count(trial)
        counts = self._counts
        parts = [f"best {self._best:.4g}"] if math.isfinite(self._best) else []
        parts += [f"{counts[s]} {s}" for s in ("pruned", "diverged", "failed") if counts[s]]
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        self._bar.update(len(self._states) - counts["failed"] - self._bar.n)

    def _count(self, trial: Trial) -> None:
        """Count a trial once, by its last state: a result would be counted in full each time."""
        self._counts[self._states.get(trial.index, "")] -= 1
        self._counts[trial.state] += 1
        self._states[trial.index] = trial.state
        if trial.value is not None:
            self._best = min(self._best, trial.value)

    def comparing(self, estimate: str, seconds: float, total: int, done: int) -> None:
        """Print the cost estimate of a comparison, and start its bar."""
        if self._quiet or done >= total:
            return
        self._close()
        print(f"{estimate}, about {show_seconds(seconds)}", file=sys.stderr)
        self._open("comparing", "run", total, done)

    def compared_runs(self, done: int) -> None:
        """Move the bar to `done` runs."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def offered(self, offers: Sequence[Offer]) -> None:
        """Keep the comparisons that are left to the user, to print them with the result."""
        self.offers = offers

    def waiting(self, what: str) -> None:
        """Print what the search waits for, above the bar."""
        if self._quiet:
            return
        line = f"lrsearch: waiting for {as_options(what)}"
        if self._bar is None:
            print(line, file=sys.stderr)
        else:
            self._bar.write(line, file=sys.stderr)

    def stopping(self) -> None:
        """Print that the search is being stopped."""
        self._close()
        if not self._quiet:
            print(
                "lrsearch: stopping after saving; press Ctrl-C again to stop now", file=sys.stderr
            )

    def _open(self, title: str, unit: str, total: int, done: int) -> None:
        import tqdm

        self._bar = tqdm.tqdm(
            total=total,
            initial=done,
            desc=title,
            unit=unit,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def show_seconds(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
