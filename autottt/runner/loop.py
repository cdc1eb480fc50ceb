"""The loop: take a task, count the attempt, have an engine make it, record what came of it.

A task that raises is tried again, after the others, and given up after `retries` more attempts; one
that takes its process down is given up when its count says so. What cannot be used as input is
given up at once. Where the disk fails, the loop ends and no attempt is held against the task.

Where the seconds of the whole run are limited, every task is probed first, and the trainings come
after, those first that are expected to gain most a second. What has not been trained when the
seconds are spent, or would take more than are left, is answered with what the probe has in hand.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

from autottt.errors import TaskError
from autottt.runner import results, savers
from autottt.runner.attempts import (
    Answered,
    Died,
    Failed,
    Job,
    NoStorage,
    Offered,
    Outcome,
    Settings,
    Stopped,
)
from autottt.runner.engines import Engine
from autottt.runner.folder import CHECKPOINTS, QUEUE, RESULTS, locked, storage
from autottt.runner.queue import Entry, Queue
from autottt.runner.source import BadLine, Known, Source, line_id
from autottt.runner.stop import Stop
from autottt.runner.tally import Tally
from autottt.types import Task

WAIT = 0.2  # seconds between looks at what has ended, or at a stream that has nothing to read
PATIENCE = 60.0  # seconds that workers have to stop in
NO_TIME = 1e-9  # seconds, over before anything is decided
Hear = Callable[[Tally], None]


def run(
    folder: Path,
    engine: Engine,
    source: Source,
    settings: Settings,
    *,
    stop: Stop,
    hear: Hear = lambda tally: None,
    checkpoints: Path | str | None = None,
) -> Tally:
    """Work until every task has a result, or until told to stop; `hear` is told of each result.

    `checkpoints` is where they are kept (`savers.opened`), by default in the folder. Raises
    `StorageError` where the folder cannot be used, and `LockedError` where it is in use.
    """
    where = folder / CHECKPOINTS if checkpoints is None else checkpoints
    described = engine.describe(settings)
    with (
        locked(folder),
        storage(folder),
        contextlib.closing(Queue(folder / QUEUE, described)) as queue,
        savers.opened(where) as saver,
        engine.opened(settings, stop, where, saver),
    ):
        return Loop(folder / RESULTS, engine, queue, saver, settings, stop, hear).work(source)


class Loop:
    """One process at work on one folder that it holds."""

    def __init__(
        self,
        path: Path,
        engine: Engine,
        queue: Queue,
        saver: savers.Saver,
        settings: Settings,
        stop: Stop,
        hear: Hear,
    ) -> None:
        self._path, self._engine, self._queue, self._saver = path, engine, queue, saver
        self._settings, self._stop, self._hear = settings, stop, hear
        self._tally = Tally()
        self._shares = stop.limited and settings.strategy is None
        self._under_way: dict[str, Job] = {}  # by key

    def work(self, source: Source) -> Tally:
        """Mend what the last process left, then work until done or told to stop."""
        results.mend(self._path, self._queue.lines())
        self._forget_finished()
        self._tally = Tally.of(self._queue.own_lines())
        self._take(source, WAIT)
        ends: tuple[type[BaseException], ...] = (KeyboardInterrupt, OSError, *savers.failures())
        try:
            self._work(source)
        except ends:
            with contextlib.suppress(Exception):  # the storage may be what failed
                self._give_back()
            raise
        return self._tally

    def _work(self, source: Source) -> None:
        while self._stop.reason is None:
            began = self._begin_next(self._next)
            idle = not began and not self._under_way
            if idle and source.ended:
                break
            self._settle(0.0 if began and self._engine.free else WAIT)
            self._take(source, WAIT if idle else 0.0)
        reason = self._stop.reason
        if self._shares and not self._stop.asked:
            self._close()
            reason = self._stop.reason or reason
        self._wind_up()
        self._tell()
        if self._tally.waiting or not source.ended:
            self._tally.stopped = reason

    def _next(self) -> Entry | None:
        busy = self._under_way
        if not self._shares:
            return self._queue.next(busy)
        probe = self._queue.next_probe(busy)
        return probe or self._queue.next_training(self._stop.seconds_left, busy)

    def _close(self) -> None:
        """Answer what was probed with what is in hand; that takes milliseconds a task."""
        self._wind_up()
        self._stop.lift()
        while not self._stop.asked:
            began = self._begin_next(self._in_hand, NO_TIME)
            if not began and not self._under_way:
                return
            self._settle(0.0 if began and self._engine.free else WAIT)

    def _in_hand(self) -> Entry | None:
        """A task that was probed and whose checkpoint is there; others are to be probed again."""
        while (entry := self._queue.next_training(math.inf, self._under_way)) is not None:
            if self._saver.get_tuple({"configurable": {"thread_id": entry.thread}}) is not None:
                return entry
            self._queue.offered(entry.key, None, None)
        return None

    def _wind_up(self) -> None:
        """Have what is under way stopped, and settle it; what does not stop is given back."""
        until = time.monotonic() + PATIENCE
        while self._under_way and time.monotonic() < until:
            self._engine.interrupt()
            self._settle(WAIT)
        self._give_back()

    def _give_back(self) -> None:
        for key in self._under_way:
            self._queue.give_back(key)
        self._under_way.clear()

    def _take(self, source: Source, wait: float) -> None:
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
                key = self._queue.run.key(item.id)
                self._give_up(item.id, key, 0, type(item.error).__name__, str(item.error))
        self._tell()

    def _take_one(self, task: Task) -> None:
        try:
            self._queue.add([task])
        except TaskError as error:
            name = line_id(repr(task).encode())
            self._give_up(name, self._queue.run.key(name), 0, "TaskError", str(error))

    def _begin_next(
        self, choose: Callable[[], Entry | None], deadline: float | None = None
    ) -> bool:
        """Begin an attempt where the engine has room for one and there is one to make."""
        entry = choose() if self._engine.free else None
        if entry is None:
            return False
        if entry.attempts > self._settings.retries:
            why = (
                f"the process ended in the midst of it, {entry.attempts} attempts were begun; "
                "its memory, its kill and the watchdog are what to look for"
            )
            self._give_up(entry.task.id, entry.key, entry.attempts, "Crash", why)
            self._saver.delete_thread(entry.thread)
            return True
        number, probe = self._queue.begin(entry.key), self._shares and not entry.probed
        job = Job(
            entry.key,
            entry.thread,
            entry.task,
            number,
            probe,
            self._deadline(probe) if deadline is None else deadline,
            self._stop.seconds_left,
        )
        self._under_way[entry.key] = job
        self._engine.begin(job)
        return True

    def _deadline(self, probe: bool) -> float | None:
        """Of a training what is left of the run too; a probe is kept, so it is made in full."""
        shared = self._shares and not probe
        limits = [self._settings.deadline, self._stop.seconds_left if shared else None]
        known = [limit for limit in limits if limit is not None and limit < math.inf]
        return max(NO_TIME, min(known)) if known else None

    def _settle(self, seconds: float) -> None:
        for job, outcome in self._engine.ended(seconds):
            if self._under_way.get(job.key) is job:  # and not one that was given back
                del self._under_way[job.key]
                self._record(job, outcome)

    def _record(self, job: Job, outcome: Outcome) -> None:
        match outcome:
            case Answered(answer):
                line = results.answer_line(job.task, self._queue.run, job.number, answer)
                self._finish(job.key, line)
                self._saver.delete_thread(job.thread)
            case Offered(gain, expected):
                self._queue.offered(job.key, gain, expected)
                self._queue.give_back(job.key)
            case Stopped():
                self._queue.give_back(job.key)
            case NoStorage(error):
                with contextlib.suppress(Exception):  # the disk may be what failed
                    self._queue.give_back(job.key)
                    self._give_back()
                raise error
            case Failed(kind, message, for_good):
                if for_good or job.number > self._settings.retries:
                    self._give_up(job.task.id, job.key, job.number, kind, message)
                else:
                    self._queue.offered(job.key, None, None)
                self._saver.delete_thread(job.thread)  # the next attempt is from the start
            case Died():
                pass  # the attempt was counted

    def _give_up(self, task_id: str, key: str, attempt: int, kind: str, message: str) -> None:
        line = results.error_line(task_id, self._queue.run, attempt, kind, message)
        self._finish(key, line)

    def _finish(self, key: str, line: str) -> None:
        if self._queue.finish(key, line):
            results.append(self._path, line)
            self._tally.add(line)
            self._tell()

    def _tell(self) -> None:
        self._tally.waiting = self._queue.waiting()
        self._hear(self._tally)

    def _forget_finished(self) -> None:
        """Remove the checkpoints of tasks whose process died between result and removal."""
        for thread in savers.threads(self._saver):
            if self._queue.has_result(thread.partition("-")[0]):
                self._saver.delete_thread(thread)
