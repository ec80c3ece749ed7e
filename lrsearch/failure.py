"""Texts of an exception in user code: one line, and the user's part of the traceback."""

from __future__ import annotations

import traceback

from lrsearch.errors import one_line, printable

#: Numbers of characters that are kept, because a message may contain a whole tensor.
REASON, DETAILS = 300, 10_000


def reason_of(error: BaseException) -> str:
    """Return an error's type and message in one line."""
    if isinstance(error, SystemExit):
        return f"the objective called sys.exit({error.code!r})"
    try:
        text = one_line(str(error)[: 10 * REASON])
    except Exception:  # noqa: BLE001  # a user's exception may raise anything
        text = "its message cannot be shown"
    return f"{type(error).__name__}: {text}"[:REASON] if text else type(error).__name__


def trace_of(error: BaseException) -> str:
    """Return the traceback without its first frame, which is lrsearch's own."""
    trace = error.__traceback__
    trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    return printable("".join(traceback.format_exception(type(error), error, trace))[-DETAILS:])
