"""Where the checkpoints of a run are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver


@contextlib.contextmanager
def opened(where: Path | str) -> Iterator[BaseCheckpointSaver[str]]:
    """The saver of the SQLite file at `where`, set up, until the block ends."""
    with SqliteSaver.from_conn_string(str(where)) as saver:
        saver.setup()
        yield saver


def threads(saver: BaseCheckpointSaver[str]) -> set[str]:
    """The names of all tasks that have checkpoints there."""
    return {str(item.config["configurable"]["thread_id"]) for item in saver.list(None)}
