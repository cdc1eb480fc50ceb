"""Files that survive a writer that dies: lines of JSON that are added, and texts written whole."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from pathlib import Path
from typing import BinaryIO

from autottt.types import JSON

logger = logging.getLogger(__name__)


def append_line(path: str | Path, record: JSON) -> None:
    """Add one line and wait until it is on disk; the folder is made when it is missing.

    Writers wait for each other. What a writer that died left of its last line is removed. Raises
    an `OSError`, too, where the file is of something else.
    """
    line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            _mend_tail(file, path)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)  # a disk that is full does not say where
        raise


def write_whole(path: str | Path, text: str) -> None:
    """Write the file whole or not at all; the folder is made when it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def _mend_tail(file: BinaryIO, path: Path) -> None:
    """Make the log end with a newline: cut off a torn line, complete one that lacks only that."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read() == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if is_json(content[start:]):
        file.write(b"\n")
    elif not _is_torn(content, start):
        raise OSError(errno.EINVAL, "no file of JSON lines; nothing is added, name another")
    else:
        logger.warning("%s ended in a torn line of %d bytes, now removed", path, end - start)
        file.truncate(start)


def _is_torn(content: bytes, start: int) -> bool:
    """Whether what begins there is the beginning of a line after others, or zeros of a lost one."""
    first, tail = content.partition(b"\n")[0], content[start:]
    return (not start or is_json(first)) and tail.strip(b"\0")[:1] in (b"", b"{")


def is_json(text: bytes) -> bool:
    """Whether a line is whole: no beginning of a JSON object is itself JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
