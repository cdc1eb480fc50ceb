"""The loop: take a task, count the attempt, solve it from its checkpoint, record what came of it.

A task that raises is tried again, after the others, and given up after `retries` more attempts; one
that takes the process down is given up when its count says so. What cannot be used as input is
given up at once. Where the disk fails, the loop ends and no attempt is held against the task.

Where the seconds of the whole run are limited, every task is probed first, and the trainings come
after, those first that are expected to gain most a second. What has not been trained when the
seconds are spent, or would take more than are left, is answered with what the probe has in hand.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import math
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langgraph.checkpoint.base import BaseCheckpointSaver

from autottt.controller.checkpoints import Checkpoints
from autottt.errors import AutotttError, InputError, StoppedError, TaskError
from autottt.runner import results, savers
from autottt.runner.folder import CHECKPOINTS, QUEUE, RESULTS, locked, storage
from autottt.runner.queue import Entry, Queue, Run
from autottt.runner.source import BadLine, Known, Source, line_id
from autottt.runner.stop import Stop
from autottt.runner.tally import Tally
from autottt.runner.watchdog import hard_limit, watched
from autottt.types import Task

if TYPE_CHECKING:
    from autottt.solver import Solver

logger = logging.getLogger(__name__)
WAIT = 0.2  # seconds between looks at a stream that has nothing to read
NO_TIME = 1e-9  # seconds, over before anything is decided
# what a model, a strategy or a plug-in may raise on one task while the others are fine; a failure
# of the disk is not among them
TASK_FAILURES = (
    AutotttError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
DISK = {  # failures of the operating system that no task is to blame for
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}
Hear = Callable[[Tally], None]


@dataclass(frozen=True)
class Settings:
    """How the tasks are worked on; `hard_seconds` None takes `watchdog.hard_limit`."""

    strategy: str | None = None
    deadline: float | None = None
    seed: int = 0
    log: Path | None = None
    retries: int = 2
    hard_seconds: float | None = None


def describe(solver: Solver, settings: Settings) -> Run:
    """What answers depend on besides the task, in words that fit a key."""
    policy = solver.policy
    if settings.strategy is not None:
        parts = [f"strategy:{settings.strategy}"]
    else:
        gate = solver.gate
        digest = "none" if gate is None else hashlib.sha256(repr(gate).encode()).hexdigest()[:12]
        parts = [f"gate:{digest}", f"price:{policy.price:g}"]
        parts += [f"least:{policy.least:g}"] if policy.least else []
        parts += [f"explore:{policy.explore:g}"] if policy.explore else []
    parts += [f"deadline:{settings.deadline:g}"] if settings.deadline is not None else []
    return Run(" ".join(parts), solver.model.fingerprint, settings.seed)


def run(
    folder: Path,
    solver: Solver,
    source: Source,
    settings: Settings,
    *,
    stop: Stop,
    hear: Hear = lambda tally: None,
) -> Tally:
    """Work until every task has a result, or until told to stop; `hear` is told of each result.

    Raises `StorageError` where the folder cannot be used, and `LockedError` where it is in use.
    """
    with locked(folder), storage(folder), _opened(folder, describe(solver, settings)) as stores:
        queue, saver = stores
        return Loop(folder / RESULTS, solver, queue, saver, settings, stop, hear).work(source)


@contextlib.contextmanager
def _opened(folder: Path, run: Run) -> Iterator[tuple[Queue, BaseCheckpointSaver[str]]]:
    with (
        contextlib.closing(Queue(folder / QUEUE, run)) as queue,
        savers.opened(folder / CHECKPOINTS) as saver,
    ):
        yield queue, saver


class Loop:
    """One process at work on one folder that it holds."""

    def __init__(
        self,
        path: Path,
        solver: Solver,
        queue: Queue,
        saver: BaseCheckpointSaver[str],
        settings: Settings,
        stop: Stop,
        hear: Hear,
    ) -> None:
        self._path, self._solver, self._queue, self._saver = path, solver, queue, saver
        self._settings, self._stop, self._hear = settings, stop, hear
        limit = settings.hard_seconds
        self._limit = hard_limit(settings.deadline) if limit is None else limit
        self._tally = Tally()
        self._shares = stop.limited and settings.strategy is None

    def work(self, source: Source) -> Tally:
        """Mend what the last process left, then work until done or told to stop."""
        results.mend(self._path, self._queue.lines())
        self._forget_finished()
        self._tally = Tally.of(self._queue.own_lines())
        self._take(source, 0.0 if self._queue.waiting() else WAIT)
        with contextlib.suppress(StoppedError):
            while self._stop.reason is None:
                entry = self._next()
                if entry is not None:
                    self._attempt(entry)
                elif source.ended:
                    break
                self._take(source, WAIT if entry is None else 0.0)
        reason = self._stop.reason
        if self._shares and not self._stop.asked:
            with contextlib.suppress(StoppedError):
                self._close()
            reason = self._stop.reason or reason
        self._tell()
        if self._tally.waiting or not source.ended:
            self._tally.stopped = reason
        return self._tally

    def _next(self) -> Entry | None:
        if not self._shares:
            return self._queue.next()
        return self._queue.next_probe() or self._queue.next_training(self._stop.seconds_left)

    def _close(self) -> None:
        """Answer what was probed with what is in hand; that takes milliseconds a task."""
        self._stop.lift()
        while (entry := self._queue.next_training(math.inf)) is not None:
            self._attempt(entry, deadline=NO_TIME)

    def _take(self, source: Source, wait: float = 0.0) -> None:
        """Queue what the source has; wait that many seconds for it."""
        if source.ended:
            return
        new = source.read(wait)
        tasks = [item for item in new if isinstance(item, Task)]
        try:
            self._queue.add(tasks)
        except TaskError:
            if isinstance(source, Known):
                raise  # a list is wrong as a whole; of a stream, one line is
            for task in tasks:
                self._take_one(task)
        for item in new:
            if isinstance(item, BadLine):
                self._give_up(item.id, self._queue.run.key(item.id), 0, item.error)
        self._tell()

    def _take_one(self, task: Task) -> None:
        try:
            self._queue.add([task])
        except TaskError as error:
            name = line_id(repr(task).encode())
            self._give_up(name, self._queue.run.key(name), 0, error)

    def _attempt(self, entry: Entry, deadline: float | None = None) -> None:
        if entry.attempts > self._settings.retries:
            line = results.error_line(
                entry.task.id,
                self._queue.run,
                entry.attempts,
                "Crash",
                f"the process ended in the midst of it, {entry.attempts} attempts were begun; "
                "its memory, its kill and the watchdog are what to look for",
            )
            self._finish(entry.key, line)
            return
        number = self._queue.begin(entry.key)
        try:
            if self._shares and not entry.probed and self._probed(entry):
                return
            line = self._solved(entry, number, deadline)
        except (StoppedError, KeyboardInterrupt, sqlite3.Error):
            self._give_back(entry)
            raise
        except OSError as error:
            if error.errno in DISK:
                self._give_back(entry)
                raise
            self._failed(entry, number, error)
        except InputError as error:
            self._give_up(entry.task.id, entry.key, number, error)
        except TASK_FAILURES as error:
            self._failed(entry, number, error)
        else:
            self._finish(entry.key, line)

    def _give_back(self, entry: Entry) -> None:
        with contextlib.suppress(sqlite3.Error):  # the disk may be what failed
            self._queue.give_back(entry.key)

    def _probed(self, entry: Entry) -> bool:
        """Probe the task; where training would come next, note its offer and leave it for later."""
        with watched(f"task {entry.task.id}", self._limit):
            offer = self._solver.offer(
                entry.task,
                Checkpoints(self._saver, entry.key),
                deadline=self._settings.deadline,
                seed=self._settings.seed,
                progress=self._stop.progress,
                on_event=self._stop.event,
            )
        if offer is None:
            return False
        doubt = 1.0 - offer.probability_right  # without a gate it is all that is known
        gain, seconds = offer.gains.get(offer.chosen, doubt), offer.costs.get(offer.chosen, 0.0)
        self._queue.offered(entry.key, gain, seconds)
        self._give_back(entry)
        return True

    def _deadline(self) -> float | None:
        limits = [self._settings.deadline, self._stop.seconds_left if self._shares else None]
        known = [limit for limit in limits if limit is not None and limit < math.inf]
        return max(NO_TIME, min(known)) if known else None

    def _solved(self, entry: Entry, number: int, deadline: float | None) -> str:
        settings = self._settings
        with watched(f"task {entry.task.id}", self._limit):
            answer = self._solver.solve(
                entry.task,
                strategy=settings.strategy,
                deadline=self._deadline() if deadline is None else deadline,
                seed=settings.seed,
                progress=self._stop.progress,
                on_event=self._stop.event,
                log=settings.log,
                checkpoints=Checkpoints(self._saver, entry.key),
            )
        return results.answer_line(entry.task, self._queue.run, number, answer)

    def _failed(self, entry: Entry, number: int, error: Exception) -> None:
        """Give the task up, or leave it for later, from its start."""
        logger.warning("task %s failed: %s", entry.task.id, error, exc_info=True)
        if number > self._settings.retries:
            self._give_up(entry.task.id, entry.key, number, error)
        else:
            self._saver.delete_thread(entry.key)

    def _give_up(self, task_id: str, key: str, attempt: int, error: Exception) -> None:
        kind, message = type(error).__name__, str(error)
        line = results.error_line(task_id, self._queue.run, attempt, kind, message)
        self._finish(key, line)

    def _finish(self, key: str, line: str) -> None:
        if self._queue.finish(key, line):
            results.append(self._path, line)
            self._tally.add(line)
            self._tell()
        self._saver.delete_thread(key)

    def _tell(self) -> None:
        self._tally.waiting = self._queue.waiting()
        self._hear(self._tally)

    def _forget_finished(self) -> None:
        """Remove the checkpoints of tasks whose process died between result and removal."""
        for thread in savers.threads(self._saver):
            if self._queue.has_result(thread):
                self._saver.delete_thread(thread)
