"""Ctrl-C and SIGTERM end a search between two writes, never during one.

A run in flight has stored nothing, so only its own work is lost: the same command runs the same
schedule again.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The search was asked to stop by a signal.

    It is not an `Exception`, so training code that catches all exceptions does not catch it.

    Attributes:
        exit_code: 130 after SIGINT, 143 after SIGTERM, as shells expect.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(
            message or "interrupted; ended trials are saved; continue with the same command"
        )
        self.number = number
        self.exit_code = 128 + number


class Shield:
    """A context that delays signals while a record is written."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending: int | None = None
        self._received: int | None = None
        #: Called when a signal arrives.
        self.hurry: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Raise `Interrupted` again if user code has caught it.

        Raises:
            Interrupted: a signal has arrived before.
        """
        if self._received is not None:
            raise Interrupted(self._received)

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if not self._depth and self._pending is not None:
            number, self._pending = self._pending, None
            raise Interrupted(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # A second signal ends the process at once, by the default handlers.
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.default_int_handler if name == 2 else signal.SIG_DFL)
        self._received = number
        self.hurry()
        if self._depth:
            self._pending = number
        else:
            raise Interrupted(number)


@contextlib.contextmanager
def interruptible(shield: Shield) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Interrupted`, raised outside the shield.

    Only the main thread of a process may set handlers; in other threads nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, shield._receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
