"""How a search goes on, on stderr: trials done, best so far, pruned and diverged, time left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from lrsearch.result import Result, Trial

__all__ = ["Progress"]


class Progress:
    """A progress bar that listens to a search.

    Args:
        quiet: show nothing.

    Attributes:
        ended: trials that ended while it listened.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.ended = 0
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, result: Result, total: int) -> None:
        """Starts the bar from what the study already holds."""
        if self._quiet or len(result.trials) >= total:
            return
        import tqdm

        self._bar = tqdm.tqdm(
            total=total,
            initial=len(result.trials),
            desc=result.study,
            unit="trial",
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
        )

    def trial_ended(self, trial: Trial, result: Result) -> None:
        """Moves the bar by one."""
        self.ended += 1
        if self._bar is None:
            return
        counts, ranked = result.counts, result.ranked
        parts = [f"best {ranked[0].value:.4g}"] if ranked else []
        parts += [f"{counts[s]} {s}" for s in ("pruned", "diverged", "failed") if counts[s]]
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        self._bar.update(1)
