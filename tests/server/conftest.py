"""A real server on the loopback interface, shared by the tests of its protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autottt.evaluation.local_server import LocalServer
from autottt.types import JSON

KEY = "a key for the tests"
LINES = [
    ([[0, 4, 0, 0, 0, 4, 0, 0, 0, 0]], [[0, 4, 4, 4, 4, 4, 0, 0, 0, 0]]),
    ([[0, 0, 7, 0, 0, 0, 0, 0, 7, 0]], [[0, 0, 7, 7, 7, 7, 7, 7, 7, 0]]),
    ([[2, 0, 0, 2, 0, 0, 0, 0, 0, 0]], [[2, 2, 2, 2, 0, 0, 0, 0, 0, 0]]),
]
QUERY = [[0, 0, 0, 5, 0, 0, 0, 0, 5, 0]]
OUTPUT = [[0, 0, 0, 5, 5, 5, 5, 5, 5, 0]]


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """A server of the embedded model with a key, a short queue, and MCP beside HTTP."""
    args = ["--queue", "2", "--max-body", "65536", "--threads", "1", "--mcp-http"]
    with LocalServer(args, {"AUTOTTT_API_KEY": KEY}) as started:
        yield started


@pytest.fixture(scope="session")
def turns() -> list[JSON]:
    """A task whose rule is to fill a line between two marks, as a conversation."""
    found = []
    for given, wanted in LINES:
        found.append({"role": "user", "content": str(given)})
        found.append({"role": "assistant", "content": str(wanted)})
    return [*found, {"role": "user", "content": str(QUERY)}]
