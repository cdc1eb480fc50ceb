"""The folder of a run: one process at a time, and typed errors where it cannot be used.

It holds `queue.sqlite` (the truth), `checkpoints.sqlite` (tasks under way), `results.jsonl` and
`lock`. The lock is the kernel's and ends with the process, however that ends; it is not to be
relied on over network file systems.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autottt.errors import LockedError, StorageError

QUEUE, CHECKPOINTS, RESULTS = "queue.sqlite", "checkpoints.sqlite", "results.jsonl"
LOCK = "lock"


@contextmanager
def storage(folder: Path, but: tuple[type[OSError], ...] = ()) -> Iterator[None]:
    """Turn failures of the disk and of SQLite into a `StorageError` that says what to do."""
    try:
        yield
    except but:
        raise
    except (OSError, sqlite3.Error) as error:
        why = str(error) or type(error).__name__
        raise StorageError(
            f"{folder} cannot be read or written ({why}); make room or set its permissions and "
            "start again with the same folder, where nothing finished is lost, or name another"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, made where it is missing; raises `LockedError` with the holder's pid."""
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            with storage(folder, but=(BlockingIOError, PermissionError)):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            pid = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
            raise LockedError(
                f"process {pid} is at work in {folder}; wait for it, stop it with `kill {pid}`, "
                "or name another folder"
            ) from error
        with storage(folder):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
