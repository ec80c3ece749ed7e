"""A worker process: runs come in on standard input, outcomes go out on standard output."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

from lrsearch.contract import Run
from lrsearch.objectives.function import FunctionObjective
from lrsearch.objectives.loading import find_objective

__all__ = ["BEGUN", "main"]

#: Said when a run begins: what comes before, such as the import of a framework, is none of its
#: time.
BEGUN = "begun"

#: More points than any curve has: between processes nothing is thinned.
ALL = sys.maxsize


def main() -> None:
    """Answers runs until there are no more."""
    # What the user's code prints goes to standard error; only outcomes go to standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    first = messages.get()
    sys.path[:] = first["path"]
    objective = find_objective(first["objective"], None, "auto")
    if not isinstance(objective, FunctionObjective):
        raise TypeError(f"{first['objective']} is no function")
    while True:
        run = Run.from_dict(messages.get())
        _say(answers, BEGUN)
        _say(answers, objective.answer(run).to_dict(ALL))


def _say(answers: IO[str], message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _read(messages: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Passes runs on; once the search is gone, ends this process and whatever it has started."""
    for line in sys.stdin:
        messages.put(json.loads(line))
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
