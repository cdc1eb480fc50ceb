"""When to stop: at a signal, or when the seconds of the whole run are spent.

The work asks at points where little is lost: between nodes of the machine, and at each step of a
training. A training that is stopped begins anew when the task goes on.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autottt.errors import StoppedError
from autottt.types import JSON

SPENT = "the seconds of the run are spent"


class Stop:
    """A request to stop that the work polls. `seconds` from now it is made by itself."""

    def __init__(self, seconds: float | None = None) -> None:
        self.limited = seconds is not None
        self._until = math.inf if seconds is None else time.monotonic() + seconds
        self._asked: str | None = None

    @property
    def seconds_left(self) -> float:
        """Of the whole run, zero or more."""
        return max(0.0, self._until - time.monotonic())

    @property
    def asked(self) -> bool:
        """Whether someone asked, and not the time alone."""
        return self._asked is not None

    def ask(self, reason: str) -> None:
        """Stop at the next point where little is lost."""
        self._asked = reason

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        if self._asked is None and not self.seconds_left:
            return SPENT
        return self._asked

    def lift(self) -> None:
        """Let the seconds be no limit any more, for what is worth finishing after them."""
        self._until = math.inf

    def progress(self, what: str, done: int, total: int) -> None:
        """For `Solver.solve`: raises `StoppedError` in the midst of a node's work."""
        if done < total:
            self._check()

    def event(self, kind: str, payload: JSON) -> None:
        """For `Solver.solve`: raises `StoppedError` where a decision is about to be carried out.

        Deciding again costs nothing, while a stop at another event would lose a node's work.
        """
        if kind == "decision":
            self._check()

    def _check(self) -> None:
        if self.reason is not None:
            raise StoppedError(self.reason)


@contextmanager
def stopping_on_sigterm(stop: Stop) -> Iterator[None]:
    """SIGTERM asks to stop instead of ending the process; for the main thread."""

    def hear(number: int, frame: FrameType | None) -> None:
        stop.ask("SIGTERM")

    before = signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
