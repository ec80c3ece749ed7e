"""The progress bar counts every trial once, by its last state."""

import pytest

from lrsearch.cli.progress import Progress
from tests.doubles import Bowl, search


class Broken(Bowl):
    """A bowl whose trials 1 and 4 fail while it is broken, and whose high peaks diverge."""

    def __init__(self, broken):
        super().__init__(limit=0.1)
        self.broken = broken

    def outcome(self, run):
        if self.broken and run.trial in (1, 4):
            return run.end("failed", reason="OSError: no space left")
        return super().outcome(run)


@pytest.mark.parametrize("trials", [6, 9])
def test_the_bar_shows_the_counts_of_the_result(tmp_path, trials, monkeypatch):
    shown = []

    class Watch(Progress):
        def trial_ended(self, trial, result):
            super().trial_ended(trial, result)
            if self._bar is not None:
                shown.append((self._bar.n, self._bar.postfix, result))

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    words = {"sampler": "random", "max_failures": 9}
    for broken, count in ((True, 6), (False, trials)):
        with Watch(quiet=False) as watch:
            search(Broken(broken), tmp_path, trials=count, callback=watch, **words)
        for done, text, result in shown:
            assert done == result.counted
            parts = text.split(", ")
            assert parts[0] == f"best {result.best.value:.4g}"
            found = dict(reversed(part.split()) for part in parts[1:])
            expected = {s: n for s, n in result.counts.items() if n and s != "finished"}
            assert {state: int(n) for state, n in found.items()} == expected
    assert shown
