"""Where tasks come from: a list that is known at the start, or a stream of JSON lines.

A stream is read between tasks, at most READ bytes at a time, so that whoever writes it waits. What
was read is in the queue; what was not is not, so a stream that broke off is to be sent again from
its start: tasks already known, by id or by the hash of the line, are passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from autottt.adapters.tasks.schema import parse_task
from autottt.errors import TaskError
from autottt.types import Task

READ = 2**16
LONGEST = 2**24  # bytes of a line; a task has a few thousand


@dataclass(frozen=True)
class BadLine:
    """A line that is no task, under the name by which its failure is recorded."""

    id: str
    error: TaskError


class Source(Protocol):
    """Gives tasks, and bad lines, until it has `ended`."""

    @property
    def ended(self) -> bool: ...

    def read(self, seconds: float) -> Sequence[Task | BadLine]:
        """What there is now; waits at most that long for it."""


class Known:
    """Tasks that are all there at the start."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks: Sequence[Task] = tasks
        self.ended = False

    def read(self, seconds: float) -> Sequence[Task]:
        self.ended = True
        return self._tasks


class Stream:
    """Tasks from a file descriptor, one JSON object a line; see `adapters.tasks.schema`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self.ended = False

    def read(self, seconds: float) -> list[Task | BadLine]:
        if self.ended or not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        got = os.read(self._descriptor, READ)
        self.ended = not got
        *lines, self._rest = (self._rest + got).split(b"\n")
        if self.ended or len(self._rest) > LONGEST:
            lines.append(self._rest)
            self._rest = b""
        return list(_parsed(lines))


def line_id(line: bytes) -> str:
    """The name of a line without an id of its own; the same line has the same one."""
    return f"stdin-{hashlib.sha256(line.strip()).hexdigest()[:12]}"


def _parsed(lines: Sequence[bytes]) -> Iterator[Task | BadLine]:
    for line in lines:
        if not line.strip():
            continue
        name = line_id(line)
        try:
            yield parse_task(_decoded(line), id=name, source=name)
        except TaskError as error:
            yield BadLine(name, error)


def _decoded(line: bytes) -> object:
    if len(line) > LONGEST:
        raise TaskError(f"a line of over {LONGEST} bytes is no task; give one task a line")
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"the line is not JSON ({error}); give one ARC task a line") from error
    return found
