"""What is told of an exception of a user's code: one line, and the user's part of the trace."""

from __future__ import annotations

import traceback

from lrsearch.errors import one_line

#: Characters that are kept: an error may carry a whole tensor in its message.
REASON, DETAILS = 300, 10_000


def reason_of(error: BaseException) -> str:
    """An error's type and message in one line."""
    if isinstance(error, SystemExit):
        return f"the objective called sys.exit({error.code!r})"
    text = one_line(str(error)[: 10 * REASON])
    return f"{type(error).__name__}: {text}"[:REASON] if text else type(error).__name__


def trace_of(error: BaseException) -> str:
    """The traceback from the user's code on."""
    trace = error.__traceback__
    trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    return "".join(traceback.format_exception(type(error), error, trace))[-DETAILS:]
