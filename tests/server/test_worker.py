"""A worker and the lanes in front of it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from autottt.adapters.tasks.files import load_tasks
from autottt.errors import (
    CancelledError,
    DeadlineError,
    LostModelError,
    OverloadedError,
    WorkerError,
)
from autottt.serialise import to_json
from autottt.server import lanes
from autottt.server.jobs import Job, Solved, Wish
from autottt.server.lanes import TRAINING, Lane, Pool, PoolSettings
from autottt.server.process import WorkerProcess, WorkerSettings
from autottt.server.worker import Inbox, Worker
from autottt.solver import Solver
from autottt.types import JSON, Task
from tests.server.conftest import LINES, QUERY

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

TASK = Task.from_examples(LINES, QUERY)
JOB = {"task": to_json(TASK), "strategy": "ttt", "seed": 9, "deadline": None, "may_train": True}


def _work(
    model: HuggingFaceModel, jobs: list[JSON], hear: Callable[[JSON, Callable[[JSON], None]], None]
) -> list[JSON]:
    """What a worker sends; `hear` gets every message, and a way to send the worker another."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as lines, os.fdopen(writing, "w", buffering=1) as out:
        inbox, sent = Inbox(lines), list[JSON]()
        listener = threading.Thread(target=inbox.listen)
        listener.start()

        def write(message: JSON) -> None:
            out.write(json.dumps(message) + "\n")

        def send(message: JSON) -> None:
            sent.append(message)
            hear(message, write)
            if sum("end" in m for m in sent) == len(jobs):
                out.close()

        for job in jobs:
            write(job)
        Worker(Solver(model), inbox, send).run()
        listener.join()
    return sent


def test_a_worker_whose_model_is_lost_ends() -> None:
    """The job in hand has failed; the next is for the process that takes its place."""

    class Gone:
        def solve(self, task: Task, **given: Any) -> Any:
            raise LostModelError("gone")

    inbox, sent = Inbox([]), list[JSON]()
    for number in (1, 2):
        inbox._jobs.put({**JOB, "job": number})
    Worker(Gone(), inbox, sent.append).run()  # type: ignore[arg-type]
    assert [(m["job"], m["end"]) for m in sent] == [(1, "lost")]


def test_a_cancellation_at_a_step_leaves_the_model_restored(embedded: HuggingFaceModel) -> None:
    """A job cancelled at its third step ends a few later; the weights are what they were."""

    def hear(message: JSON, write: Callable[[JSON], None]) -> None:
        if message.get("done") == 3:
            write({"cancel": 5})

    sent = _work(embedded, [{**JOB, "job": 5}], hear)
    steps = [m["done"] for m in sent if m.get("event") == "progress"]
    assert 3 <= max(steps) < 20
    assert sent[-1]["end"] == "cancelled"
    assert embedded.verify()
    assert not embedded.grouped


def test_a_worker_outlives_jobs_that_fail(embedded: HuggingFaceModel) -> None:
    """Each end is of its kind: no such task, no way to train, a bug, a handover, an answer."""
    one = to_json(Task.from_examples(LINES[:1], QUERY))
    long = to_json(Task.from_examples([([[1] * 30] * 30, [[1] * 30] * 30)] * 3, QUERY))
    (hard,) = load_tasks("arc:a85d4709")  # which it would train for
    changes: list[JSON] = [
        {"task": long},
        {"task": one},
        {"task": {"nonsense": 1}},
        {"task": to_json(hard), "strategy": None, "may_train": False},
        {"strategy": "icl"},
        {"strategy": "ttt-light+experts"},
        {"strategy": "ttt-light+experts", "may_train": False},
    ]
    jobs = [{**JOB, "job": k, **change} for k, change in enumerate(changes)]
    sent = _work(embedded, jobs, lambda message, write: None)
    ends = [m["end"] for m in sent if "end" in m]
    assert ends == ["input", "strategy", "failed", "handover", "answer", "answer", "handover"]


class _Slow(WorkerProcess):
    """A worker that is no process: it takes its time, or falls silent."""

    def __init__(self, seconds: float) -> None:
        super().__init__(WorkerSettings())
        self.seconds = seconds

    @property
    def alive(self) -> bool:
        return True

    async def start(self) -> None: ...

    async def stop(self, *, kill: bool = False) -> None: ...

    async def run(self, job: Job, *, may_train: bool) -> Solved:
        await asyncio.sleep(self.seconds)
        return Solved({}, {}, "", job.queued)


def _wish(deadline: float = 60.0) -> Wish:
    return Wish(TASK, "ttt", 0, deadline)


def _with_lane(seconds: float, use: Callable[[Lane], Any]) -> None:
    async def run() -> None:
        lane = Lane(TRAINING, [_Slow(seconds)], limit=2)
        await lane.start()
        try:
            await use(lane)
        finally:
            await lane.stop()

    asyncio.run(run())


def test_a_lane_takes_no_more_than_its_queue_holds() -> None:
    """Beyond its limit it refuses; what was called off gives its place back."""

    async def use(lane: Lane) -> None:
        jobs = [Job(_wish()) for _ in range(4)]
        lane.submit(jobs[0])
        await asyncio.sleep(0.01)  # it runs
        for job in jobs[1:3]:
            lane.submit(job)
        with pytest.raises(OverloadedError) as caught:
            lane.submit(jobs[3])
        assert caught.value.retry_after >= 1
        jobs[1].cancel()
        lane.submit(jobs[3])
        with pytest.raises(CancelledError):
            await jobs[1].result()
        assert (lane.running, lane.waiting) == (1, 2)

    _with_lane(30.0, use)


def test_a_deadline_passes_in_the_queue_too() -> None:
    """A job whose time was spent waiting is not begun."""

    async def use(lane: Lane) -> None:
        first, late = Job(_wish()), Job(_wish(0.05))
        lane.submit(first)
        lane.submit(late)
        await first.result()
        with pytest.raises(DeadlineError, match="waited"):
            await late.result()

    _with_lane(0.1, use)


def test_a_deadline_ends_the_wait_where_no_worker_comes() -> None:
    """Nobody takes the job, and still it ends when it should; its place is free again."""

    async def run() -> None:
        pool = Pool(PoolSettings(WorkerSettings(), queue=1))
        with pytest.raises(DeadlineError, match="waited"):
            await pool.submit(_wish(0.05)).result()
        pool.submit(_wish())

    asyncio.run(run())


class _Mortal(_Slow):
    """It dies when told so, fails to start at the second try, and to answer when told so."""

    dead, starts, failure = False, 0, False

    @property
    def alive(self) -> bool:
        return not self.dead

    async def start(self) -> None:
        self.starts += 1
        if self.starts == 2:
            raise OSError(12, "Cannot allocate memory")
        self.dead = False

    async def run(self, job: Job, *, may_train: bool) -> Solved:
        if self.failure:
            self.failure = False
            raise ValueError("a line too long")
        return await super().run(job, may_train=may_train)


def test_a_worker_that_died_is_started_again_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody sends a request, and though the first try fails."""
    monkeypatch.setattr(lanes, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(lanes, "RESTART_PAUSES", (0.0, 0.0))

    async def run() -> None:
        worker = _Mortal(0.0)
        lane = Lane(TRAINING, [worker], limit=2)
        await lane.start()
        worker.dead = True
        async with asyncio.timeout(5):
            while worker.dead:
                await asyncio.sleep(0.01)
        assert worker.starts == 3
        await lane.stop()

    asyncio.run(run())


def test_a_failure_of_any_kind_ends_its_job_alone() -> None:
    """The job is told, and the lane goes on."""

    async def run() -> None:
        worker = _Mortal(0.0)
        lane = Lane(TRAINING, [worker], limit=2)
        await lane.start()
        worker.failure = True
        lost, next_one = Job(_wish()), Job(_wish())
        lane.submit(lost)
        lane.submit(next_one)
        with pytest.raises(WorkerError, match="lost"):
            await lost.result()
        assert (await next_one.result()).queued >= 0
        await lane.stop()

    asyncio.run(run())


def test_a_lane_that_stops_fails_what_it_holds() -> None:
    """Nobody is left waiting when the server goes."""

    async def run() -> None:
        lane = Lane(TRAINING, [_Slow(30.0)], limit=2)
        await lane.start()
        jobs = [Job(_wish()) for _ in range(2)]
        for job in jobs:
            lane.submit(job)
        await asyncio.sleep(0.01)
        await lane.stop()
        for job in jobs:
            with pytest.raises(WorkerError):
                await job.result()

    asyncio.run(run())


def test_a_worker_that_is_silent_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the deadline and some grace the process is ended, and its job told so."""

    async def run() -> None:
        worker = WorkerProcess(WorkerSettings(), grace=0.2)
        process = await asyncio.create_subprocess_exec(
            "sleep", "60", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        monkeypatch.setattr(worker, "_process", process)
        with pytest.raises(DeadlineError, match="killed"):
            await worker.run(Job(_wish(0.1)), may_train=True)
        assert process.returncode is not None
        assert not worker.alive

    asyncio.run(run())


def test_a_job_that_is_done_is_kept_by_no_timer() -> None:
    """Its answer would stay in memory until the deadline."""

    async def run() -> None:
        pool = Pool(PoolSettings(WorkerSettings()))
        done, called_off = pool.submit(_wish(3600.0)), pool.submit(_wish(3600.0))
        kept = [weakref.ref(job) for job in (done, called_off)]
        done.succeed(Solved({}, {}, "", 0.0))
        called_off.cancel()
        await asyncio.sleep(0)
        pool.training._waiting.clear()
        del done, called_off
        gc.collect()
        assert [job() for job in kept] == [None, None]

    asyncio.run(run())


def test_a_file_of_the_user_is_not_imported_in_place_of_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is started where the user is, whose files may have any name."""
    (tmp_path / "queue.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkerError, match="/nowhere"):
        asyncio.run(WorkerProcess(WorkerSettings(model="/nowhere")).start())


@pytest.mark.parametrize(
    ("line", "said"), [("Welcome", "no message"), ("5", "no message"), ("{}", "another kind")]
)
def test_a_worker_that_begins_with_something_else_is_ended(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no message of a worker is a typed error, and the process does not stay."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho '{line}'\nread settings\nread end\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    worker = WorkerProcess(WorkerSettings())
    with pytest.raises(WorkerError, match=f"did not start: .*{said}"):
        asyncio.run(worker.start())
    assert not worker.alive


def test_a_model_that_cannot_be_loaded_says_so() -> None:
    """A worker that does not start gives the reason to whoever starts it."""
    worker = WorkerProcess(WorkerSettings(model="/nowhere"))
    with pytest.raises(WorkerError, match="/nowhere"):
        asyncio.run(worker.start())


def test_a_worker_loads_the_model_as_it_was_told() -> None:
    """The options of a model reach the worker, and one that is none is named."""

    async def fingerprint() -> str:
        worker = WorkerProcess(WorkerSettings(loading={"format": "plain", "lora_targets": ()}))
        await worker.start()
        try:
            return worker.fingerprint
        finally:
            await worker.stop()

    assert asyncio.run(fingerprint()).endswith(" plain")
    with pytest.raises(WorkerError, match="--dtype"):
        asyncio.run(WorkerProcess(WorkerSettings(loading={"dtype": "int3"})).start())
