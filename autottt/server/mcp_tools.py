"""The tools of the MCP server, over the same pool of workers as HTTP.

A call reports progress while it waits and trains, and a call that the client cancels is called off.
Decisions of the last answers are kept in memory, each under an id that only its asker was given.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Any
from uuid import uuid4

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import Field, PlainValidator, TypeAdapter

from autottt.errors import AutotttError
from autottt.server.app import Extension
from autottt.server.conversation import Domain, read_values
from autottt.server.jobs import Job, Solved, Wish
from autottt.server.lanes import Pool, PoolSettings
from autottt.server.replies import Outcome, outcome, refusal
from autottt.server.schema import MAX_DEMONSTRATIONS, MAX_SEED, POLICIES, Demonstration, Grid
from autottt.strategies import registry
from autottt.types import JSON

KEPT = 256  # answers whose decisions can be asked for
EXPLAINED = ("strategy", "confidence", "decisions", "attempts", "seconds", "restored", "warnings")
INSTRUCTIONS = (
    "Answers few-shot tasks: give pairs of input and output that follow one rule, and a query. "
    "Grids are lists of rows of colours 0-9; texts are texts."
)

Pairs = Annotated[list[Demonstration], Field(min_length=1, max_length=MAX_DEMONSTRATIONS)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# of a text that is JSON the SDK makes what it says, unless the type is exactly str
Query = Annotated[
    str, PlainValidator(TypeAdapter(str | Grid).validate_python, json_schema_input_type=str | Grid)
]


class Tools:
    """The tools, and the decisions that they can explain; `deadline` caps the seconds of a call."""

    def __init__(self, pool: Pool, deadline: float) -> None:
        self._pool, self._deadline = pool, deadline
        self._traces: OrderedDict[str, JSON] = OrderedDict()

    async def solve_few_shot_task(
        self,
        demonstrations: Pairs,
        query: Query,
        context: Context[Any, Any],
        policy: str = "autottt",
        seed: Seed = 0,
        deadline_seconds: Seconds | None = None,
        domain: Domain | None = None,
    ) -> dict[str, Any]:
        """Answer a query by the rule that the demonstrations follow.

        `policy` is autottt (it decides itself whether to train first), autottt-icl (never) or
        autottt-ttt (always). The result holds the output, the confidence that it is right (of the
        last two a share of the vote), and an `answer_id` for explain_decision.
        """
        if policy not in POLICIES:
            raise ToolError(f"there is no policy of that name; there are {', '.join(POLICIES)}")
        pairs = [(d.input, d.output) for d in demonstrations]
        seconds = min(deadline_seconds or self._deadline, self._deadline)
        try:
            reading = read_values(pairs, query, domain=domain)
            job = self._pool.submit(Wish(reading.task, POLICIES[policy], seed, seconds))
            found = outcome(await _followed(job, context), reading)
        except AutotttError as error:
            raise ToolError(refusal(error)["error"]["message"]) from error
        return {
            "answer_id": self._keep(found),
            "output": found.details["answers"][0]["output"],
            "text": found.content,
            "confidence": found.details["confidence"],
            "strategy": found.details["strategy"],
        }

    def _keep(self, found: Outcome) -> str:
        answer_id = uuid4().hex
        self._traces[answer_id] = {name: found.details[name] for name in EXPLAINED}
        while len(self._traces) > KEPT:
            self._traces.popitem(last=False)
        return answer_id

    def explain_decision(self, answer_id: str) -> dict[str, Any]:
        """Why an answer was given as it was: every decision with its numbers, every attempt."""
        if answer_id not in self._traces:
            raise ToolError(f"there is no answer of that id among the last {KEPT}")
        return self._traces[answer_id]

    def list_strategies(self) -> dict[str, Any]:
        """The strategies there are: what each does, and whether it trains.

        An answer may also name one of those that train with another way to answer, such as
        ttt-light+experts, whose vote is decided by scoring its answers under all views.
        """
        found = registry.available().values()
        return {s.name: {"summary": s.summary, "trains": s.trains} for s in found}


def build_mcp(pool: Pool, deadline: float) -> MCPServer[Any]:
    """The server with its tools."""
    server: MCPServer[Any] = MCPServer("autottt", instructions=INSTRUCTIONS)
    tools = Tools(pool, deadline)
    for tool in (tools.solve_few_shot_task, tools.explain_decision, tools.list_strategies):
        server.add_tool(tool)
    return server


async def _followed(job: Job, context: Context[Any, Any]) -> Solved:
    """The result of a job whose events are passed on as progress; called off if we are."""
    heard = 0
    try:
        async for event in job.follow():
            heard += 1
            what = event.get("what") or event["event"]
            if "total" in event:
                what = f"{what} ({event['done']} of {event['total']})"
            await context.report_progress(heard, message=what)
        return await job.result()
    finally:
        job.cancel()


def run_stdio(settings: PoolSettings, deadline: float) -> None:
    """Serve one client on stdin and stdout until it leaves."""

    async def serve() -> None:
        async with Pool(settings) as pool:
            await build_mcp(pool, deadline).run_stdio_async()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


def http_extension(deadline: float, max_body: int) -> Callable[[Pool], Extension]:
    """MCP at /mcp of the HTTP server, behind its key and its checks of the host."""

    def extend(pool: Pool) -> Extension:
        server = build_mcp(pool, deadline)
        app = server.streamable_http_app(
            max_request_body_size=max_body,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        return Extension(list(app.routes), server.session_manager.run)

    return extend
