"""The graph as a user of LangGraph and LangChain meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from autottt.errors import InputError, StrategyError
from autottt.plugins.langgraph import Graph, Options, few_shot_graph
from autottt.solver import Solver
from tests.conftest import ROOT
from tests.server.conftest import LINES, OUTPUT, QUERY

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

TASK: Any = {"demonstrations": [{"input": x, "output": y} for x, y in LINES], "query": QUERY}


@pytest.fixture(scope="module")
def graph(embedded: HuggingFaceModel) -> Graph:
    return few_shot_graph(Solver(embedded))


def test_the_output_is_typed_and_nothing_more(graph: Graph) -> None:
    """Invoked on a task it gives the answer, its confidence, and the reasons of every decision."""
    found = graph.invoke(TASK)
    assert found.keys() == {"answer", "confidence", "chosen", "reasons", "trace"}
    assert json.loads(found["answer"]) == OUTPUT
    assert found["reasons"]
    assert found["trace"]["restored"]
    assert json.loads(json.dumps(found)) == found


def test_it_streams_what_it_does(graph: Graph) -> None:
    """The custom stream carries steps of training and decisions as they come."""
    options = Options(strategy="ttt-light", seed=31)
    events = list(graph.stream(TASK, context=options, stream_mode="custom"))
    assert [e["done"] for e in events if e.get("what", "").startswith("training")]
    assert [e for e in events if "decision" in e]


def test_it_is_a_node_of_a_larger_graph(graph: Graph) -> None:
    """Below a graph with a checkpointer it answers, and the machine's own nodes can be watched."""

    class Outer(TypedDict):
        demonstrations: list[Any]
        query: Any
        answer: str

    outer = StateGraph(Outer)
    outer.add_node("few_shot", graph)
    outer.add_edge(START, "few_shot")
    outer.add_edge("few_shot", END)
    compiled = outer.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    parts = list(compiled.stream(TASK, config, stream_mode="updates", subgraphs=True))
    seen = {name for _, update in parts for name in update}
    assert {"few_shot", "solve", "probe", "decide", "answer"} <= seen
    assert json.loads(compiled.get_state(config).values["answer"]) == OUTPUT


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_it_is_a_tool_for_an_agent(graph: Graph) -> None:
    """As a tool it has a schema that a model can fill in, and answers."""
    tool = graph.as_tool(name="few_shot", description="Answers a few-shot task.")
    assert tool.args.keys() == {"demonstrations", "query"}
    assert json.loads(tool.invoke(TASK)["answer"]) == OUTPUT


def test_what_cannot_be_answered_is_a_typed_error(graph: Graph) -> None:
    """No task is an input error; one demonstration cannot be trained on."""
    with pytest.raises(InputError):
        graph.invoke({**TASK, "query": [[11]]})
    one = {**TASK, "demonstrations": TASK["demonstrations"][:1]}
    with pytest.raises(StrategyError, match="at least two"):
        graph.invoke(one, context=Options(strategy="ttt"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"demonstrations": None}, "'demonstrations' is missing"),
        ({"demonstrations": [{"input": "a"}]}, "'output' of demonstration 1 is missing"),
        ({"demonstrations": [*TASK["demonstrations"], "a"]}, "'input' of demonstration 4 is"),
        ({"query": None}, "'query' is missing"),
    ],
)
def test_what_is_missing_is_named(graph: Graph, change: dict[str, Any], said: str) -> None:
    """A task without all of its parts is an input error like any other."""
    task = {name: value for name, value in {**TASK, **change}.items() if value is not None}
    with pytest.raises(InputError, match=said):
        graph.invoke(task)


def test_the_deployment_file_names_a_graph_that_loads_nothing() -> None:
    """`langgraph.json` points at a graph without a checkpointer; importing it loads no model."""
    path, _, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"][
        "autottt"
    ].partition(":")
    module = ".".join(Path(path).with_suffix("").parts)
    code = (
        f"import sys; from {module} import {name} as g; assert g.checkpointer is None; "
        "from autottt.adapters.models.huggingface import HuggingFaceModel; "
        "import gc; print(any(isinstance(o, HuggingFaceModel) for o in gc.get_objects()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"
