"""Lanes: a bounded queue each, in front of worker processes that have a model of their own.

Tasks that train go through a lane with one worker, so that at most one adaptation runs at a time;
what only reads the model has a lane and workers to itself and never waits for a training. A task
that the controller decides starts in the reading lane and is handed over if it is to be trained.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat

from autottt.errors import AutotttError, OverloadedError, WorkerError
from autottt.server.jobs import Job, Wish
from autottt.server.process import Handover, WorkerProcess, WorkerSettings

log = logging.getLogger(__name__)
QUEUE = 64  # jobs that may wait in a lane
MEAN_AT_FIRST = 1.0  # seconds of a job, before any was seen
SMOOTHING = 0.9
RESTART_PAUSES = (0.0, 1.0, 5.0, 30.0)  # before the next try to start a worker
IDLE_SECONDS = 1.0  # between looks at a worker that has nothing to do
READING, TRAINING = "reading", "training"
TRAINERS = ("ttt",)  # forced strategies that train


class Lane:
    """A queue of at most `limit` jobs and the workers that take from it."""

    def __init__(self, name: str, workers: list[WorkerProcess], limit: int) -> None:
        self.name = name
        self.workers = workers
        self.restarts = 0
        self.running = 0
        self.on_handover: Callable[[Job], None] | None = None
        self._limit = limit
        self._waiting: deque[Job] = deque()
        self._filled = asyncio.Event()
        self._mean = MEAN_AT_FIRST
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def up(self) -> int:
        """Workers that run, with their model loaded."""
        return sum(worker.ready for worker in self.workers)

    async def start(self) -> None:
        """Start every worker; raises `WorkerError` if one does not come up."""
        for worker in self.workers:
            await worker.start()
            self._tasks.append(asyncio.create_task(self._serve(worker)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in self._waiting:
            job.fail(WorkerError("the server is shutting down"))
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    def submit(self, job: Job) -> None:
        """Queue a job; raises `OverloadedError` where the queue is full."""
        self._waiting = deque(job for job in self._waiting if not job.cancelled.is_set())
        waiting = self.waiting
        if waiting >= self._limit:
            seconds = self._mean * (waiting + self.running) / len(self.workers)
            raise OverloadedError(waiting, max(1, math.ceil(seconds)))
        job.wait()
        self._waiting.append(job)
        self._filled.set()

    def _next(self) -> Job | None:
        while self._waiting:
            job = self._waiting.popleft()
            if not job.cancelled.is_set():
                return job
        self._filled.clear()
        return None

    async def _serve(self, worker: WorkerProcess) -> None:
        while True:
            if not worker.alive:  # before it takes a job that another could have
                await self._revive(worker)
            job = self._next()
            if job is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), IDLE_SECONDS)
                continue
            self.running += 1
            begin = time.monotonic()
            try:
                await self._run(worker, job)
            finally:
                self.running -= 1
            self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * (time.monotonic() - begin)

    async def _run(self, worker: WorkerProcess, job: Job) -> None:
        if job.seconds_left() <= 0:
            job.expire()
            return
        job.begin()
        try:
            job.succeed(await worker.run(job, may_train=self.name == TRAINING))
        except Handover as handover:
            job.warnings = handover.warnings
            assert self.on_handover is not None, "only the reading lane hands over"
            self.on_handover(job)
        except AutotttError as error:
            job.fail(error)
        except asyncio.CancelledError:
            job.fail(WorkerError("the server is shutting down"))
            raise
        except Exception:  # whatever it is, the lane goes on with a new process
            log.exception("a worker of the %s lane is given up", self.name)
            await worker.stop(kill=True)
            job.fail(WorkerError("the worker process was lost; try again"))

    async def _revive(self, worker: WorkerProcess) -> None:
        for pause in chain(RESTART_PAUSES, repeat(RESTART_PAUSES[-1])):
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await worker.stop(kill=True)
                await worker.start()
            except (WorkerError, OSError) as error:
                log.error("%s", error)
                continue
            log.warning("a worker of the %s lane was started again", self.name)
            return


@dataclass(frozen=True)
class PoolSettings:
    """How many workers read, and how many jobs may wait in each lane."""

    worker: WorkerSettings
    replicas: int = 1
    queue: int = QUEUE


class Pool:
    """Both lanes; an asynchronous context manager."""

    def __init__(self, settings: PoolSettings) -> None:
        readers = [WorkerProcess(settings.worker) for _ in range(settings.replicas)]
        self.reading = Lane(READING, readers, settings.queue)
        trainer = WorkerProcess(replace(settings.worker, watch=False))
        self.training = Lane(TRAINING, [trainer], settings.queue)
        self.reading.on_handover = self._hand_over
        self.lanes = (self.reading, self.training)

    async def __aenter__(self) -> Pool:
        try:
            await asyncio.gather(*(lane.start() for lane in self.lanes))
        except WorkerError:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await asyncio.gather(*(lane.stop() for lane in self.lanes))

    @property
    def ready(self) -> bool:
        """Whether every lane has a worker."""
        return all(lane.up for lane in self.lanes)

    def submit(self, wish: Wish) -> Job:
        """Queue a wish where it belongs; raises `OverloadedError`."""
        job = Job(wish)
        lane = self.training if wish.strategy in TRAINERS else self.reading
        lane.submit(job)
        timer = asyncio.get_running_loop().call_later(wish.deadline, job.expire)
        job.when_done(timer.cancel)  # it would keep the job until the deadline
        return job

    def _hand_over(self, job: Job) -> None:
        if job.cancelled.is_set():
            return
        job.hear({"event": "handover", "lane": TRAINING})
        try:
            self.training.submit(job)
        except OverloadedError as error:
            job.fail(error)
