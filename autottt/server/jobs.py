"""A job: one task on its way through the server, as whoever asked for it sees it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from autottt.errors import CancelledError, DeadlineError
from autottt.serialise import to_json
from autottt.types import JSON, Task

_numbers = itertools.count()


@dataclass(frozen=True)
class Wish:
    """What is asked: a task, the strategy that is forced if any, a seed, and seconds from now."""

    task: Task
    strategy: str | None
    seed: int
    deadline: float


@dataclass(frozen=True)
class Solved:
    """A worker's answer as plain JSON, with the seconds that the job waited for a worker."""

    answer: JSON
    usage: JSON
    fingerprint: str
    queued: float


class Job:
    """A wish under way: events to follow, a result to await, and a way to call it off."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.number = next(_numbers)
        self.ends_at = time.monotonic() + wish.deadline
        self.queued = 0.0  # seconds that it waited for a worker, so far
        self.begun = False  # whether a worker has it
        self._since = time.monotonic()
        self.warnings: list[str] = []  # of workers that had it before
        self.cancelled = asyncio.Event()
        self._events: asyncio.Queue[JSON | None] = asyncio.Queue()
        self._result: asyncio.Future[Solved] = asyncio.get_running_loop().create_future()
        self._result.add_done_callback(_looked_at)

    def seconds_left(self) -> float:
        return self.ends_at - time.monotonic()

    def wait(self) -> None:
        """It waits for a worker from now on."""
        self.begun, self._since = False, time.monotonic()

    def begin(self) -> None:
        """A worker has it."""
        self.begun = True
        self.queued += time.monotonic() - self._since

    def expire(self) -> None:
        """End it where its deadline passes while it waits; a worker keeps the deadline itself."""
        if not self.begun and not self._result.done():
            self.cancelled.set()
            self.fail(DeadlineError("the deadline passed while the request waited"))

    def message(self, *, may_train: bool) -> JSON:
        """The job as a worker takes it."""
        return {
            "job": self.number,
            "task": to_json(self.wish.task),
            "strategy": self.wish.strategy,
            "seed": self.wish.seed,
            "deadline": self.seconds_left(),
            "may_train": may_train,
        }

    def hear(self, event: JSON) -> None:
        self._events.put_nowait(event)

    def succeed(self, solved: Solved) -> None:
        if not self._result.done():
            self._result.set_result(solved)
            self._events.put_nowait(None)

    def fail(self, error: Exception) -> None:
        if not self._result.done():
            self._result.set_exception(error)
            self._events.put_nowait(None)

    def cancel(self) -> None:
        """Call it off unless it is done: at once where it waits, at the next step where it runs."""
        if not self._result.done():
            self.cancelled.set()
            self.fail(CancelledError("the request was cancelled"))

    def when_done(self, call: Callable[[], None]) -> None:
        """Have this called once it has an answer or an error."""
        self._result.add_done_callback(lambda result: call())

    async def follow(self) -> AsyncIterator[JSON]:
        """Its events until it is done; for one listener."""
        while (event := await self._events.get()) is not None:
            yield event

    async def result(self) -> Solved:
        """The answer, or the error that it ended with."""
        return await asyncio.shield(self._result)


def _looked_at(result: asyncio.Future[Solved]) -> None:
    """An error that nobody awaits any more is no surprise."""
    if not result.cancelled():
        result.exception()
