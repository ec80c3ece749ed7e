"""A worker: it asks for runs, evaluates the objective, and sends each outcome.

An objective pulls its runs from a stream, so a worker is the same stream in another process:
`take` sends a request, and a yielded outcome is sent as a message. Here the worker is a process
with two pipes and one JSON object per line; `lrsearch.workers.ray_cluster` runs the same on a
cluster.
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
from lrsearch.objectives.command import Command
from lrsearch.objectives.loading import find_objective
from lrsearch.run import Run

Ask = Callable[[int], list[dict[str, Any]]]


class _RemoteRuns:
    """Runs that are requested from the search's process."""

    def __init__(self, slots: int, level: str, ask: Ask) -> None:
        self.slots = slots
        self.probes: Probes = Diagnosis(level)
        self._ask = ask

    def take(self, room: int) -> list[Run]:
        """Request at most `room` runs; see `lrsearch.contract.Runs`.

        With nothing in flight, the call may wait.
        """
        return [decode(Run, run) for run in self._ask(room)] if room > 0 else []


def answer(order: Mapping[str, Any], ask: Ask) -> Iterator[dict[str, Any]]:
    """Evaluate the objective, and yield the outcomes as JSON objects.

    Args:
        order: the `objective`, its `options`, the `device`, the number of `slots`, the `level` of
            diagnostics and the `version` of lrsearch.
        ask: function that returns at most the given number of runs.

    Raises:
        SearchFailed: this worker has another version of lrsearch.
    """
    if order["version"] != (own := sys.modules["lrsearch"].__version__):
        raise SearchFailed(
            f"a worker has lrsearch {own}, but the search has {order['version']}; install the "
            "same version everywhere"
        )
    given = order["objective"]
    if isinstance(given, dict):
        given = decode(Command, given, "command")
    objective = find_objective(given, order["options"], order["device"])
    for outcome in objective.evaluate(_RemoteRuns(order["slots"], order["level"], ask)):
        yield encode(outcome)


def main() -> None:
    """Run the worker until there are no more runs."""
    # The output of the user's code goes to stderr; only messages go to stdout.
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
    """Queue messages; when the search ends, end this process and its child processes."""
    for line in sys.stdin:
        messages.put(json.loads(line))
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
