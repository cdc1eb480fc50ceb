"""The parts of the loop: the queue, the results file, the lock, the stream, the watchdog."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autottt.errors import LockedError, StoppedError, StorageError, TaskError
from autottt.runner import results
from autottt.runner.folder import locked, storage
from autottt.runner.queue import Queue, Run
from autottt.runner.savers import opened
from autottt.runner.source import BadLine, Stream
from autottt.runner.stop import Stop
from autottt.runner.watchdog import HUNG, hard_limit, watched
from autottt.types import Task

RUN = Run("strategy:icl", "m", 0)


def task(name: str, cell: int = 1) -> Task:
    """A task that is never solved."""
    return Task.from_examples([([[cell]], [[2]])], [[3]], id=name)


def test_the_queue_survives_and_counts_before(tmp_path: Path) -> None:
    """Tasks, attempts and results are there after a connection that was never closed."""
    first = Queue(tmp_path / "q.sqlite", RUN)
    assert first.add([task("a"), task("b")]) == 2
    assert first.begin(RUN.key("a")) == 1
    second = Queue(tmp_path / "q.sqlite", RUN)
    assert second.add([task("a"), task("b")]) == 0
    entry = second.next()
    assert entry is not None
    assert entry.task == task("b")  # "a" was begun, so it comes after
    assert second.finish(entry.key, "{}")
    assert not second.finish(entry.key, "[]")
    assert list(second.own_lines()) == ["{}"]
    assert second.waiting() == 1
    assert second.has_result(entry.key)
    second.give_back(RUN.key("a"))
    last = second.next()
    assert last is not None
    assert last.attempts == 0
    first.close()
    second.close()


def test_another_policy_or_seed_is_another_result(tmp_path: Path) -> None:
    """The key holds task, policy, model and seed."""
    keys = {RUN.key("a"), Run("x", "m", 0).key("a"), Run("strategy:icl", "n", 0).key("a")}
    assert len(keys | {Run("strategy:icl", "m", 1).key("a"), RUN.key("b")}) == 5


def test_an_id_that_means_another_task_is_refused(tmp_path: Path) -> None:
    """The same id with other content queues nothing."""
    queue = Queue(tmp_path / "q.sqlite", RUN)
    queue.add([task("a")])
    with pytest.raises(TaskError, match="'a' is that of another"):
        queue.add([task("b"), task("a", cell=5)])
    assert queue.waiting() == 1
    queue.close()


def test_a_full_database_is_a_typed_error(tmp_path: Path) -> None:
    """SQLite's own "disk is full" becomes a `StorageError`, and what was there is whole."""
    queue = Queue(tmp_path / "q.sqlite", RUN)
    queue.add([task("a")])
    queue._db.execute("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(StorageError, match="full"), storage(tmp_path):
        queue.add([task(f"b{k}" * 50) for k in range(500)])
    assert queue.waiting() == 1
    queue.close()


def test_a_task_that_waits_may_get_another_priority(tmp_path: Path) -> None:
    """It is the same task, in another place."""
    queue = Queue(tmp_path / "q.sqlite", RUN)
    queue.add([task("a"), task("b")])
    assert queue.add([task("a"), replace(task("b"), priority=5)]) == 0
    entry = queue.next()
    assert entry is not None
    assert entry.task == task("b")
    queue.close()


def test_a_file_that_is_no_database_is_a_typed_error(tmp_path: Path) -> None:
    """A damaged queue is refused, and not overwritten."""
    path = tmp_path / "q.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=f"{path} is damaged .*not a database"):
        Queue(path, RUN)
    with pytest.raises(StorageError, match="tasks under way begin anew"), opened(path):
        pass
    assert path.read_bytes().startswith(b"not a")


@pytest.mark.parametrize("there", [b"", b'{"a"', b'{"a":1}\n', b'{"a":1}\n{"b', b"x\ny\nz\nw\n"])
def test_results_are_made_what_the_database_says(tmp_path: Path, there: bytes) -> None:
    """Missing, torn, wrong and surplus lines are mended."""
    path = tmp_path / "results.jsonl"
    path.write_bytes(there)
    results.mend(path, ['{"a":1}', '{"b":2}'])
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'
    kept = [copy.read_bytes() for copy in tmp_path.glob("*.old")]
    assert kept == ([there] if there.startswith(b"x") else [])  # nobody's lines are lost
    results.append(path, "{}")
    results.mend(path, ['{"a":1}', '{"b":2}'])
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


def test_a_second_holder_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    """The lock is between processes, and ends with its holder."""
    code = (
        "import sys, pathlib\nfrom autottt.runner.folder import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} is"), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_typed_error() -> None:
    """Where the kernel takes no folder, the error says what to do."""
    with pytest.raises(StorageError, match="name another"), locked(Path("/proc/autottt")):
        pass


def test_a_stream_gives_tasks_and_bad_lines() -> None:
    """Lines are put together from pieces; what is no task has a name by its content."""
    out, into = os.pipe()
    stream = Stream(out)
    good = json.dumps(
        {"id": "a", "train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]]}]}
    )
    assert stream.read(0.0) == []
    os.write(into, good[:20].encode())
    assert stream.read(1.0) == []
    os.write(into, good[20:].encode() + b'\n\n{"no\n' + b'{"no": "task"}')
    first, bad = stream.read(1.0)
    os.close(into)
    (rest,) = stream.read(1.0)
    os.close(out)
    assert isinstance(first, Task)
    assert first.id == "a"
    assert isinstance(bad, BadLine)
    assert isinstance(rest, BadLine)
    assert bad.id != rest.id
    assert stream.ended


def test_a_stop_spares_what_is_nearly_done() -> None:
    """Raised at steps and decisions, not when a node's work is complete."""
    stop = Stop(None)
    stop.progress("training", 1, 5)
    stop.ask("SIGTERM")
    stop.progress("probing", 1, 1)
    stop.event("attempt", {})
    with pytest.raises(StoppedError, match="SIGTERM"):
        stop.progress("training", 1, 5)
    with pytest.raises(StoppedError):
        stop.event("decision", {})
    assert Stop(0.0).reason == "the seconds of the run are spent"


def test_the_watchdog_ends_what_hangs() -> None:
    """It calls once past the limit, and never for work that ends in time."""
    ended: list[int] = []
    with watched("a", 30.0, end=ended.append):
        pass
    assert not ended
    with watched("b", 0.05, end=ended.append):
        time.sleep(0.3)
    assert ended == [HUNG]
    assert (hard_limit(None), hard_limit(3.0)) == (3600.0, 600.0)


def test_the_watchdog_waits_however_long_the_limit() -> None:
    """Beyond what a thread can wait for, it waits as long as it can."""
    ended: list[int] = []
    with watched("a", hard_limit(1e10), end=ended.append):
        time.sleep(0.1)
        assert "watchdog" in {thread.name for thread in threading.enumerate()}
    assert not ended


def test_probed_tasks_come_by_gain_a_second(tmp_path: Path) -> None:
    """What is not probed comes first; then priority, then the rate, of what fits into the time."""
    queue = Queue(tmp_path / "q.sqlite", RUN)
    queue.add([task(name) for name in "abcd"] + [replace(task("e"), priority=1), task("f")])
    offers = {"a": (0.2, 4.0), "b": (0.3, 2.0), "c": (0.1, 0.5), "d": (0.9, 9.0), "e": (0.1, 2.0)}
    for name, offer in offers.items():
        queue.offered(RUN.key(name), *offer)

    def drained(seconds: float) -> list[str]:
        found = []
        while (entry := queue.next_training(seconds)) is not None:
            assert entry.probed
            found.append(entry.task.id)
            queue.finish(entry.key, "{}")
        return found

    probe = queue.next_probe()
    assert probe is not None
    assert (probe.task.id, probe.probed) == ("f", False)
    queue.begin(RUN.key("c"))
    assert drained(5.0) == ["e", "b", "a", "c"]  # c was begun before
    assert drained(math.inf) == ["d"]
    assert queue.waiting() == 1
    queue.close()


def test_a_newer_queue_is_refused(tmp_path: Path) -> None:
    """A database of another format is not written to."""
    with sqlite3.connect(tmp_path / "q.sqlite") as db:
        db.execute("PRAGMA user_version=9")
    db.close()
    with pytest.raises(StorageError, match="format 9"):
        Queue(tmp_path / "q.sqlite", RUN)
