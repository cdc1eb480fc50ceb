"""The queue in SQLite: which tasks there are, how often each was begun, and every result.

A task is known by `Key` (its id, the policy, the model and the seed) and has at most one result.
An attempt is counted before it begins, so that a task which takes the process down is known by its
count. Every change is on disk when its method returns (WAL, synchronous=FULL).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autottt.errors import StorageError, TaskError
from autottt.runner.savers import whole
from autottt.serialise import from_json, to_json
from autottt.types import Task

FORMAT = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,      -- policy, model and seed, as Run.name
    task TEXT NOT NULL,     -- JSON
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    gain REAL,              -- of the training that comes next, where the task was probed
    seconds REAL,           -- of that training
    done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS waiting ON tasks (run, attempts, priority, place) WHERE done = 0;
CREATE TABLE IF NOT EXISTS results (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    line TEXT NOT NULL
);
"""
WAITING = "FROM tasks WHERE run = ? AND done = 0"


@dataclass(frozen=True)
class Run:
    """What answers are given with: the policy in words, the model's fingerprint, the seed."""

    policy: str
    model: str
    seed: int

    @property
    def name(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def key(self, task_id: str) -> str:
        """What the result of that task under this run is known by."""
        return hashlib.sha256(json.dumps([task_id, self.name]).encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A task that waits: how often it was begun, and whether an offer of training was noted.

    `thread` names its checkpoints. It depends on what the task is, and not on its id alone: a store
    that several folders share may have those of another task by the same name.
    """

    key: str
    task: Task
    attempts: int
    probed: bool
    thread: str


class Queue:
    """The tasks and results of one run in the database at `path`; used by one process."""

    def __init__(self, path: Path, run: Run) -> None:
        self.run = run
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0)
        remedy = "name another folder; results.jsonl beside it has every result so far"
        try:
            with whole(path, remedy):
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, FORMAT):
                    raise StorageError(
                        f"{path} has format {version}, and this version of autottt reads {FORMAT}; "
                        "name another folder"
                    )
                self._db.executescript(SCHEMA)
                self._db.execute(f"PRAGMA user_version={FORMAT}")
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def add(self, tasks: Sequence[Task]) -> int:
        """Queue the tasks that are not known yet; returns how many those are.

        Raises `TaskError` where another task has the same id, and then queues none.
        """
        added = 0
        with self._transaction():
            for task in tasks:
                plain = json.dumps(to_json(replace(task, priority=0)), sort_keys=True)
                key = self.run.key(task.id)
                known = self._db.execute("SELECT task FROM tasks WHERE key = ?", [key]).fetchone()
                if known is None:
                    row = [key, self.run.name, plain, task.priority]
                    self._db.execute(
                        "INSERT INTO tasks (key, run, task, priority) VALUES (?, ?, ?, ?)", row
                    )
                    added += 1
                elif json.loads(known[0]) | {"priority": 0} == json.loads(plain):
                    self._db.execute(
                        "UPDATE tasks SET priority = ? WHERE key = ?", [task.priority, key]
                    )
                else:
                    raise TaskError(
                        f"the id {task.id!r} is that of another task in this folder; give the "
                        "task its own id, or name another folder"
                    )
        return added

    def next(self, but: Collection[str] = ()) -> Entry | None:
        """The task to work on, but for those keys.

        Of the tasks begun least often it is the first of the highest priority.
        """
        return self._first("ORDER BY attempts, priority DESC, place", but)

    def next_probe(self, but: Collection[str] = ()) -> Entry | None:
        """As `next`, of the tasks that were not probed."""
        return self._first("AND gain IS NULL ORDER BY attempts, priority DESC, place", but)

    def next_training(self, seconds: float, but: Collection[str] = ()) -> Entry | None:
        """Of the tasks probed, whose training takes less than that, the one worth most a second.

        As in `next`, tasks begun less often and those of a higher priority come before it.
        """
        return self._first(
            "AND gain IS NOT NULL AND seconds < ? "
            "ORDER BY attempts, priority DESC, gain / MAX(seconds, 0.001) DESC, place",
            but,
            seconds,
        )

    def offered(self, key: str, gain: float | None, seconds: float | None) -> None:
        """Note what training a probed task is expected to gain and to take; None: not probed."""
        self._db.execute(
            "UPDATE tasks SET gain = ?, seconds = ? WHERE key = ?", [gain, seconds, key]
        )

    def _first(self, condition: str, but: Collection[str], *values: float) -> Entry | None:
        others = f"AND key NOT IN ({','.join('?' * len(but))})"
        row = self._db.execute(
            f"SELECT key, task, attempts, gain IS NOT NULL {WAITING} {others} {condition} LIMIT 1",
            [self.run.name, *but, *values],
        ).fetchone()
        if row is None:
            return None
        key, plain, attempts, probed = row
        thread = f"{key}-{hashlib.sha256(plain.encode()).hexdigest()[:16]}"
        return Entry(key, from_json(Task, json.loads(plain)), attempts, bool(probed), thread)

    def waiting(self) -> int:
        """How many tasks have no result."""
        return int(self._db.execute(f"SELECT COUNT(*) {WAITING}", [self.run.name]).fetchone()[0])

    def begin(self, key: str) -> int:
        """Count an attempt, before it starts; returns its number, from 1."""
        row = self._db.execute(
            "UPDATE tasks SET attempts = attempts + 1 WHERE key = ? RETURNING attempts", [key]
        ).fetchall()
        return int(row[0][0])

    def give_back(self, key: str) -> None:
        """Uncount an attempt that was stopped through no fault of the task."""
        self._db.execute("UPDATE tasks SET attempts = MAX(attempts - 1, 0) WHERE key = ?", [key])

    def has_result(self, key: str) -> bool:
        """Whether that task is done."""
        row = self._db.execute("SELECT 1 FROM results WHERE key = ?", [key]).fetchone()
        return row is not None

    def finish(self, key: str, line: str) -> bool:
        """Record a result, once: False where there is one already."""
        with self._transaction():
            new = self._db.execute(
                "INSERT OR IGNORE INTO results (key, run, line) VALUES (?, ?, ?)",
                [key, self.run.name, line],
            )
            self._db.execute("UPDATE tasks SET done = 1 WHERE key = ?", [key])
        return new.rowcount == 1

    def lines(self) -> Iterator[str]:
        """Every result in the database, of this run and others, in the order they came."""
        for (line,) in self._db.execute("SELECT line FROM results ORDER BY number"):
            yield line

    def own_lines(self) -> Iterator[str]:
        """The results of this run."""
        query = "SELECT line FROM results WHERE run = ? ORDER BY number"
        for (line,) in self._db.execute(query, [self.run.name]):
            yield line

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
