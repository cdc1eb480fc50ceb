"""For LangGraph and LangChain: solving as a graph with a typed input and output.

It is a node in a larger graph, a tool (`graph.as_tool()`), or, by `langgraph.json`, a deployment.
The controller's machine runs below its one node, so that `subgraphs=True` shows the machine's
nodes, and `stream_mode="custom"` what they do. Nothing is loaded before the first task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from autottt.errors import TaskError
from autottt.plugins.solving import LazySolver, pairs_of
from autottt.serialise import to_json
from autottt.server.conversation import Domain, read_values
from autottt.solver import Solver
from autottt.types import JSON

SHOWN = ("decision", "attempt")  # events that are streamed, beside progress


class Pair(TypedDict):
    """A demonstration: grids, or texts."""

    input: list[list[int]] | str
    output: list[list[int]] | str


@dataclass(frozen=True)
class Options:
    """The context of a run, where it has one; `strategy` forces one, `deadline` is in seconds."""

    instruction: str = ""
    domain: Domain | None = None
    strategy: str | None = None
    seed: int = 0
    deadline: float | None = None


class TaskInput(TypedDict):
    """A task: demonstrations of one rule, and a query."""

    demonstrations: list[Pair]
    query: list[list[int]] | str


class TaskOutput(TypedDict):
    """The answer as text in the form of the query, and how it came about."""

    answer: str
    confidence: float
    chosen: str  # the strategy that gave it
    reasons: list[str]  # of every decision
    trace: JSON


class _State(TaskInput, TaskOutput):
    """All of it."""


Graph = CompiledStateGraph[Any, Options, Any, Any]


def few_shot_graph(solver: Solver | None = None) -> Graph:
    """The graph, without a checkpointer, over a solver or over one of the embedded model.

    The node raises `InputError` for what is no task and `StrategyError` where there is no answer.
    """
    lazy = LazySolver.of(solver)

    def solve(state: TaskInput, runtime: Runtime[Options]) -> TaskOutput:
        # below a graph with a context of its own, ours has its defaults
        options = runtime.context if isinstance(runtime.context, Options) else Options()
        write = runtime.stream_writer
        if "query" not in state:
            raise TaskError("'query' is missing; give a grid or a text")
        reading = read_values(
            pairs_of(state),
            state["query"],
            instruction=options.instruction,
            domain=options.domain,
        )
        answer, best = lazy.solve(
            reading,
            strategy=options.strategy,
            seed=options.seed,
            deadline=options.deadline,
            progress=lambda what, done, total: write({"what": what, "done": done, "total": total}),
            on_event=lambda kind, payload: write({kind: payload}) if kind in SHOWN else None,
        )
        return TaskOutput(
            answer=reading.write(best.output),
            confidence=answer.confidence,
            chosen=answer.strategy,
            reasons=[decision.reason for decision in answer.decisions],
            trace=to_json(answer),
        )

    schemas = {"input_schema": TaskInput, "output_schema": TaskOutput, "context_schema": Options}
    graph: StateGraph[Any, Options, Any, Any] = StateGraph(_State, **schemas)
    graph.add_node("solve", solve, input_schema=TaskInput)
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return graph.compile()


graph = few_shot_graph()
