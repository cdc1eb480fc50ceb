"""Where a run keeps its checkpoints: a file of SQLite, or a PostgreSQL that machines share."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from autottt.errors import InputError, StorageError

Saver = BaseCheckpointSaver[str]
SCHEMES = ("postgresql", "postgres")


@contextlib.contextmanager
def opened(where: Path | str) -> Iterator[Saver]:
    """The saver of the SQLite file or of the `postgresql://` URL, set up, until the block ends.

    Raises `InputError` for another URL or where the extra is missing, and `StorageError` where the
    server cannot be reached, refuses the login, or fails before the block ends.
    """
    if isinstance(where, str):
        with _postgres(where) as saver:
            yield saver
    else:
        with SqliteSaver.from_conn_string(str(where)) as file:
            with whole(where, "remove it: tasks under way begin anew, and nothing else is lost"):
                file.setup()
            yield file


@contextlib.contextmanager
def whole(path: Path, remedy: str) -> Iterator[None]:
    """Raise a `StorageError` with the remedy where the file is no database of SQLite."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # of which there are finer kinds
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise StorageError(f"{path} is damaged ({error}); {remedy}") from error


def checked_url(url: str) -> str:
    """The URL; raises `InputError` where it is not of PostgreSQL."""
    try:
        parts = urlsplit(url)
        port = parts.port  # raises where it is none
        known = parts.scheme in SCHEMES and bool(parts.hostname) and port != 0
    except ValueError:
        known = False
    if not known:
        raise InputError(
            "checkpoints are kept at postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
            "characters such as / in a password as %2F"
        )
    return url


@contextlib.contextmanager
def _postgres(url: str) -> Iterator[Saver]:
    checked_url(url)
    try:
        import psycopg
        from langgraph.checkpoint.postgres import PostgresSaver
    except ImportError as error:
        raise InputError(
            "checkpoints in PostgreSQL need its client; pip install 'autottt[postgres]'"
        ) from error
    try:
        with PostgresSaver.from_conn_string(url) as saver:
            saver.setup()
            yield saver
    except psycopg.Error as error:
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
        raise StorageError(
            f"the checkpoints in the PostgreSQL at {place} cannot be used ({_said(error)}); mend "
            "that and start again with the same folder, where nothing finished is lost"
        ) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def failures() -> tuple[type[Exception], ...]:
    """The errors that the storage of checkpoints raises."""
    psycopg = sys.modules.get("psycopg")
    return (sqlite3.Error,) if psycopg is None else (sqlite3.Error, psycopg.Error)


def threads(saver: Saver) -> list[str]:
    """The names of all tasks that have checkpoints there, those of other runs among them."""
    connection: Any = saver.conn  # type: ignore[attr-defined]
    rows = connection.execute("SELECT DISTINCT thread_id FROM checkpoints").fetchall()
    return [row["thread_id"] if isinstance(row, dict) else row[0] for row in rows]
