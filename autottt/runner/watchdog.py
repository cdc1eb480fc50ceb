"""The watchdog: a thread that ends the process when one task takes far too long.

Nothing in Python can end a hung call in the same process, so the process goes, with exit code 75
(EX_TEMPFAIL), and whoever started it starts it again; the attempt was counted before it began. A
call that hangs and keeps Python's global lock stops this thread too; against that only a limit set
by the supervisor helps.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)
HUNG = 75  # EX_TEMPFAIL of sysexits.h
SECONDS = 3600.0  # the limit where no deadline says what to expect
DEADLINES = 10.0  # the limit in deadlines, where there is one
LEAST = 600.0  # seconds; a probe, a warm-up and loading a model again know no deadline


def hard_limit(deadline: float | None) -> float:
    """The default limit in seconds."""
    return SECONDS if deadline is None else max(LEAST, DEADLINES * deadline)


@contextmanager
def watched(
    what: str, seconds: float, *, end: Callable[[int], object] = os._exit
) -> Iterator[None]:
    """Call `end(HUNG)` if the block takes longer than that."""
    done = threading.Event()

    def watch() -> None:
        if not done.wait(min(seconds, threading.TIMEOUT_MAX)):
            logger.error("%s took over %g s; the process ends with code %d", what, seconds, HUNG)
            end(HUNG)

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
