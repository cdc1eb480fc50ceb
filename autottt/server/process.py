"""A worker process as the server's event loop holds it: started, given jobs, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autottt.errors import DeadlineError, InputError, StrategyError, WorkerError
from autottt.server.jobs import Job, Solved
from autottt.types import JSON

log = logging.getLogger(__name__)
LINE_LIMIT = 2**24  # bytes of a message from a worker
START_SECONDS = 300.0  # to load a model
GRACE_SECONDS = 30.0  # past its deadline, before a worker counts as hung
END_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker loads, and how many threads its torch may use.

    `loading` are the fields of `ModelSettings` that are not as usual, checked by the worker.
    `watch` says whether it looks for drift, which only a worker that sees every task can. `content`
    lets messages of exceptions, which may quote a task, into the log.
    """

    model: str = "embedded"
    loading: Mapping[str, Any] = field(default_factory=dict)
    gate: str | None = None
    price: float | None = None
    adapters: str | None = None
    adapter_bytes: int = 256 * 2**20  # of trained adapters that are kept
    threads: int = 1
    watch: bool = True
    content: bool = False


class Handover(Exception):
    """The controller chose to train, and the worker may not; `warnings` are its solver's."""

    def __init__(self, warnings: list[str]) -> None:
        super().__init__("to be trained")
        self.warnings = warnings


class WorkerProcess:
    """One process; `run` gives it one job at a time."""

    def __init__(self, settings: WorkerSettings, *, grace: float = GRACE_SECONDS) -> None:
        self._settings = settings
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._loaded = False
        self.fingerprint = ""

    @property
    def alive(self) -> bool:
        """Whether it runs; what it still has to load is `start`'s affair."""
        return self._process is not None and self._process.returncode is None

    @property
    def ready(self) -> bool:
        """Whether it runs, with its model loaded."""
        return self.alive and self._loaded

    async def start(self) -> None:
        """Start it and wait until its model is loaded; raises `WorkerError`."""
        self._loaded = False
        threads = str(self._settings.threads)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # else a queue.py of the user, in the current folder, is imported
            "-m",
            "autottt.server.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._write(asdict(self._settings))
                first = await self._read()
        except (TimeoutError, WorkerError) as error:
            await self.stop()
            raise WorkerError(f"a worker did not start: {error}") from error
        if "fingerprint" not in first:
            await self.stop()
            why = first.get("failed", "it began with a message of another kind")
            raise WorkerError(f"a worker did not start: {why}")
        self.fingerprint, self._loaded = first["fingerprint"], True

    async def run(self, job: Job, *, may_train: bool) -> Solved:
        """Have a job done. Raises its error, `Handover`, or `WorkerError` where the process is
        lost; a process that is silent past the deadline and some grace is killed."""
        canceller = asyncio.create_task(self._cancel(job))
        try:
            async with asyncio.timeout(max(0.0, job.seconds_left()) + self._grace):
                await self._write(job.message(may_train=may_train))
                end = await self._end(job)
        except TimeoutError:
            await self.stop(kill=True)
            raise DeadlineError("the worker did not end by the deadline and was killed") from None
        finally:
            canceller.cancel()
        if end["end"] == "answer":
            answer = end["answer"]
            answer["warnings"] = list(dict.fromkeys([*job.warnings, *answer["warnings"]]))
            return Solved(answer, end["usage"], self.fingerprint, job.queued)
        if end["end"] == "handover":
            raise Handover(end["warnings"])
        if end["end"] == "lost":
            await self.stop(kill=True)
        errors = {"input": InputError, "strategy": StrategyError}
        raise errors.get(end["end"], WorkerError)(end["message"])

    async def _end(self, job: Job) -> JSON:
        """Pass the job's events on, until its last message."""
        while True:
            message = await self._read()
            if message.get("job") != job.number:
                await self.stop(kill=True)
                raise WorkerError("a worker answered another job than it was given")
            if "end" in message:
                return message
            job.hear({name: value for name, value in message.items() if name != "job"})

    async def _cancel(self, job: Job) -> None:
        await job.cancelled.wait()
        with contextlib.suppress(WorkerError):
            await self._write({"cancel": job.number})

    async def _write(self, message: JSON) -> None:
        if self._process is None or self._process.stdin is None:
            raise WorkerError("the worker process is gone; try again")
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            await self.stop(kill=True)
            raise WorkerError("the worker process is gone; try again") from error

    async def _read(self) -> JSON:
        if self._process is None or self._process.stdout is None:
            raise WorkerError("the worker process is gone; try again")
        try:
            line = await self._process.stdout.readline()
            if line:
                return _message(line)
        except ValueError as error:  # a line that is none, or too long
            await self.stop(kill=True)
            raise WorkerError(f"the worker process wrote what is no message: {error}") from error
        await self.stop(kill=True)
        raise WorkerError("the worker process died; try again")

    async def stop(self, *, kill: bool = False) -> None:
        """End it: by closing its input, by force where asked or where that is not enough."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        if not kill:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_SECONDS)
        if process.returncode is None:
            process.kill()
            await process.wait()


def _message(line: bytes) -> JSON:
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"{type(message).__name__} in place of an object")
    return message
