"""Ctrl-C and SIGTERM end a search between two writes, never within one.

A run in flight holds nothing in the storage, so letting it go loses only its own work: the same
command asks for the same schedule again.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The search was asked to stop by a signal.

    No `Exception`, so that training code that catches everything lets it pass.

    Attributes:
        exit_code: 130 after SIGINT, 143 after SIGTERM, as shells expect.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(
            message or "interrupted; what had ended is kept, and the same command goes on"
        )
        self.number = number
        self.exit_code = 128 + number


class Shield:
    """Holds a signal back while a record is written."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending: int | None = None
        self._received: int | None = None
        #: Called when a signal comes.
        self.hurry: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Raises again what user code has caught that was none of its business.

        Raises:
            Interrupted: a signal came, and the search goes on nevertheless.
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
        # A second signal means at once: the default handlers are back by then.
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
    """Turns SIGINT and SIGTERM into `Interrupted`, raised outside the shield.

    Only a process's main thread may set handlers; in any other nothing changes.
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
