"""`results.jsonl`: one JSON object a line for every task that has a result, in the order they came.

    version      2, the version of this schema (in 1 `correct` counted any candidate, and candidates
                 had a "probability" in place of their "score")
    task_id      the task's id; for a line of a stream that is no task, "stdin-" and its hash
    policy       "strategy:NAME" where one was forced, else the gate, the price and the rest
    model        the model's fingerprint
    seed         of everything random
    attempt      which attempt gave this, from 1; 0 where none was begun
    answer       the object of `autottt.record`, or null
    error        null, or {"kind": the name of an error class or "Crash", "message": text}
    finished     when, as UTC in ISO 8601

One of `answer` and `error` is null. (task_id, policy, model, seed) occurs once. The database is the
truth: a line is there before it is here, and `mend` makes the file what the database says, so a
line that a dying process tore, or never wrote, is there after the next start.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from autottt.record import answer_object, line
from autottt.runner.queue import Run
from autottt.types import JSON, Answer, Task

logger = logging.getLogger(__name__)
VERSION = 2


def answer_line(task: Task, run: Run, attempt: int, answer: Answer) -> str:
    """The line of a task that was answered."""
    return _line(task.id, run, attempt, answer=answer_object(task, answer))


def error_line(task_id: str, run: Run, attempt: int, kind: str, message: str) -> str:
    """The line of a task that was given up."""
    return _line(task_id, run, attempt, error={"kind": kind, "message": message})


def of_run(path: Path, run: Run) -> Iterator[str]:
    """The lines of one run."""
    with path.open(encoding="utf-8") as file:
        for text in file:
            found = json.loads(text)
            if Run(found["policy"], found["model"], found["seed"]) == run:
                yield text


def append(path: Path, text: str) -> None:
    """Add a line that the database has, and wait until it is on disk."""
    with path.open("ab") as file:
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def mend(path: Path, lines: Iterable[str]) -> None:
    """Make the file what the database says: keep what agrees, drop the rest, add what lacks.

    Whole lines that are dropped, of another tool or of a database that is gone, are kept in a copy
    of the file beside it.
    """
    path.touch()
    with path.open("rb+") as file:
        end = 0
        agrees = True
        for text in lines:
            wanted = text.encode() + b"\n"
            if agrees and file.readline() != wanted:
                agrees = False
                _keep(path, end)
                file.seek(end)
                logger.warning("%s is mended from byte %d on", path, end)
                file.truncate()
            if not agrees:
                file.write(wanted)
            end += len(wanted)
        if agrees and path.stat().st_size > end:
            _keep(path, end)
            logger.warning("%s had more than the database; cut at byte %d", path, end)
        file.truncate(end)
        file.flush()
        os.fsync(file.fileno())


def _keep(path: Path, end: int) -> None:
    """Copy the file where it holds whole lines from `end` on."""
    with path.open("rb") as file:
        file.seek(end)
        if not any(text.endswith(b"\n") for text in file):
            return  # what a process wrote as it died
    names = (path.with_name(f"{path.name}.{n}.old") for n in itertools.count(1))
    copy = next(name for name in names if not name.exists())
    shutil.copyfile(path, copy)
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    logger.warning("%s holds lines that the database lacks; all of it is kept in %s", path, copy)


def _line(
    task_id: str, run: Run, attempt: int, *, answer: JSON | None = None, error: JSON | None = None
) -> str:
    return line(
        {
            "version": VERSION,
            "task_id": task_id,
            **asdict(run),
            "attempt": attempt,
            "answer": answer,
            "error": error,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
