"""A worker: it asks for runs, trains them as its objective does, and says how each ended.

An objective pulls its runs from whoever has them, so a worker is the same stream in another
process: what it takes it asks for, and what it yields it says. Here it is a process between two
pipes, a JSON object a line; `lrsearch.workers.ray_cluster` runs the same on a cluster.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from lrsearch.codec import decode, encode
from lrsearch.contract import Probes
from lrsearch.diagnostics.diagnosis import Diagnosis
from lrsearch.errors import SearchFailed
from lrsearch.objectives.loading import find_objective
from lrsearch.run import Run

Ask = Callable[[int], list[dict[str, Any]]]


class _RemoteRuns:
    """Runs that somebody else has."""

    def __init__(self, slots: int, level: str, ask: Ask) -> None:
        self.slots = slots
        self.probes: Probes = Diagnosis(level)
        self._ask = ask

    def take(self, room: int) -> list[Run]:
        """As `lrsearch.contract.Runs`; with nothing in flight the answer may take its time."""
        return [decode(Run, run) for run in self._ask(room)] if room > 0 else []


def answer(order: Mapping[str, Any], ask: Ask) -> Iterator[dict[str, Any]]:
    """How runs end, as they do.

    Args:
        order: what is to be trained: the `objective`, its `options`, the `device`, how many
            `slots` and which `level` of diagnostics, by which `version` of lrsearch.
        ask: gives at most so many runs.

    Raises:
        SearchFailed: this is another version.
    """
    if order["version"] != (own := sys.modules["lrsearch"].__version__):
        raise SearchFailed(
            f"a worker has lrsearch {own}, and the search {order['version']}; install the "
            "same everywhere"
        )
    objective = find_objective(order["objective"], order["options"], order["device"])
    for outcome in objective.evaluate(_RemoteRuns(order["slots"], order["level"], ask)):
        yield encode(outcome)


def main() -> None:
    """Answers runs until there are no more."""
    # What the user's code prints goes to standard error; only outcomes go to standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    order = messages.get()
    sys.path[:] = order["path"]

    def ask(room: int) -> list[dict[str, Any]]:
        _say(answers, {"room": room})
        given: list[dict[str, Any]] = messages.get()
        return given

    for outcome in answer(order, ask):
        _say(answers, outcome)


def _say(answers: IO[str], message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _read(messages: queue.SimpleQueue[Any]) -> None:
    """Passes messages on; once the search is gone, ends this process and what it has started."""
    for line in sys.stdin:
        messages.put(json.loads(line))
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
