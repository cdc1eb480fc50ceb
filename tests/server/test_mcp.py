"""The MCP server as the SDK's own client sees it, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from autottt.errors import OverloadedError
from autottt.evaluation.local_server import LocalServer
from autottt.server.jobs import Job, Wish
from autottt.server.mcp_tools import build_mcp
from autottt.types import JSON, Task
from tests.server.conftest import KEY, LINES, OUTPUT, QUERY

SOLVE = "solve_few_shot_task"
PAIRS = [{"input": x, "output": y} for x, y in LINES]
ASKED: JSON = {"demonstrations": PAIRS, "query": QUERY}


@asynccontextmanager
async def _http(server: LocalServer) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport) as client:
            yield client


async def _check(client: Client) -> None:
    tools = [tool.name for tool in (await client.list_tools()).tools]
    assert tools == [SOLVE, "explain_decision", "list_strategies"]
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    asked = {**ASKED, "policy": "autottt-ttt"}
    solved = await client.call_tool(SOLVE, asked, progress_callback=hear)
    found = solved.structured_content
    assert found is not None
    assert found["output"] == OUTPUT
    assert any("training" in message for message in told)
    why = await client.call_tool("explain_decision", {"answer_id": found["answer_id"]})
    assert why.structured_content is not None
    assert why.structured_content["decisions"][0]["reason"]
    listed = await client.call_tool("list_strategies", {})
    assert listed.structured_content is not None
    assert listed.structured_content["ttt"]["trains"]
    for wrong in ({**ASKED, "policy": "x"}, {**ASKED, "query": "words"}, {"query": QUERY}):
        assert (await client.call_tool(SOLVE, wrong)).is_error
    assert (await client.call_tool("explain_decision", {"answer_id": "0"})).is_error


async def _check_cancellation(client: Client) -> None:
    """A cancelled call ends in the worker, which is then free for the next."""
    begun = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        if "training" in (message or ""):
            begun.set()

    asked = {**ASKED, "policy": "autottt-ttt", "seed": 41}
    call = asyncio.create_task(client.call_tool(SOLVE, asked, progress_callback=hear))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    answer = await client.call_tool(SOLVE, {**ASKED, "policy": "autottt-ttt"})
    assert answer.structured_content is not None
    assert answer.structured_content["output"] == OUTPUT


@pytest.mark.parametrize("check", [_check, _check_cancellation])
def test_mcp_over_http(server: LocalServer, check: Callable[[Client], Awaitable[None]]) -> None:
    """Tools, progress, errors and cancellation over streamable HTTP, with the key."""

    async def run() -> None:
        async with _http(server) as client:
            await check(client)

    asyncio.run(run())


def test_mcp_over_stdio() -> None:
    """The same over standard input and output of a process of its own."""

    async def run() -> None:
        args = ["-m", "autottt", "serve", "--mcp", "--threads", "1"]
        async with Client(StdioServerParameters(command=sys.executable, args=args)) as client:
            await _check(client)
            await _check_cancellation(client)

    asyncio.run(run())


class _Full:
    """A pool that takes no job and keeps what was asked."""

    def __init__(self) -> None:
        self.wishes = list[Wish]()

    def submit(self, wish: Wish) -> Job:
        self.wishes.append(wish)
        raise OverloadedError(1, 1)


@pytest.mark.parametrize(
    ("query", "domain"),
    [('{"a":2}', None), ("[1, 2, 3]", None), ("null", None), ("[[1,2]]", "text")],
)
def test_a_text_that_is_json_is_a_query_like_any_other(query: str, domain: str | None) -> None:
    """The SDK makes of it what it says only where the tool does not want a text."""
    asked = {"demonstrations": [{"input": "a", "output": "b"}], "query": query, "domain": domain}
    assert _asked(asked).queries == (query,)


@pytest.mark.parametrize("query", [[[1, 2]], "[[1,2]]", "[ [1, 2] ]"])
def test_a_query_may_be_a_grid_and_a_grid_as_text(query: str | list[list[int]]) -> None:
    """A grid is one either way, and no text among texts."""
    pairs = [{"input": [[1]], "output": "[[2]]"}]
    assert _asked({"demonstrations": pairs, "query": query}).queries == (((1, 2),),)


def _asked(arguments: JSON) -> Task:
    """The task that a call of the tool asks for."""
    pool = _Full()

    async def run() -> None:
        async with Client(build_mcp(pool, 60.0)) as client:  # type: ignore[arg-type]
            (tool,) = [t for t in (await client.list_tools()).tools if t.name == SOLVE]
            kinds = tool.input_schema["properties"]["query"]["anyOf"]
            assert [kind["type"] for kind in kinds] == ["string", "array"]
            said = await client.call_tool(SOLVE, arguments)
            assert said.is_error
            assert "requests wait already" in str(said.content)

    asyncio.run(run())
    return pool.wishes[0].task
