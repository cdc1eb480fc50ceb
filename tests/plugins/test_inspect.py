"""The model and the solver in a real evaluation of inspect_ai."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, GenerateConfig, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import SolverSpec, generate

import autottt
from autottt.errors import UnknownNameError
from autottt.plugins.inspect import few_shot
from tests.server.conftest import LINES, OUTPUT, QUERY

# of inspect_ai 0.3.285 itself: it waits by an old name, and leaves streams of anyio open
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MESSAGES = [
    turn
    for x, y in LINES
    for turn in (ChatMessageUser(content=str(x)), ChatMessageAssistant(content=str(y)))
]
PAIRS = [{"input": x, "output": y} for x, y in LINES]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What was left open is collected here, and not in the test of another."""
    yield
    gc.collect()


def _run(folder: Path, task: Task, model: str) -> EvalLog:
    (log,) = eval(task, model=model, log_dir=str(folder), display="none")
    return log


def _accuracy(log: EvalLog) -> float:
    assert log.status == "success", log.error
    assert log.results is not None
    value: Any = log.results.scores[0].metrics["accuracy"].value
    return float(value)


def test_an_evaluation_runs_through_the_model(tmp_path: Path) -> None:
    """A task with demonstrations as earlier turns is scored as any model's, with real usage."""
    sample = Sample(input=[*MESSAGES, ChatMessageUser(content=str(QUERY))], target=str(OUTPUT))
    log = _run(tmp_path, Task([sample], solver=generate(), scorer=match()), "autottt/icl-vote")
    assert _accuracy(log) == 1.0
    assert log.stats.model_usage["autottt/icl-vote"].total_tokens == 96
    assert log.samples is not None
    details = (log.samples[0].output.metadata or {})["autottt"]
    assert details["restored"] is True


def test_an_evaluation_runs_through_the_solver(tmp_path: Path) -> None:
    """The solver, found by its registered name, takes demonstrations from a sample's metadata."""
    sample = Sample(
        input=json.dumps(QUERY), target=json.dumps(OUTPUT), metadata={"demonstrations": PAIRS}
    )
    (log,) = eval(
        Task([sample], scorer=match()),
        model="mockllm/model",
        solver=SolverSpec("autottt/few_shot"),
        log_dir=str(tmp_path),
        display="none",
    )
    assert _accuracy(log) == 1.0


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "'demonstrations' is missing"),
        ({"demonstrations": [{"input": [[1]]}]}, "'output' of demonstration 1 is missing"),
    ],
)
def test_a_sample_without_demonstrations_says_so(
    tmp_path: Path, metadata: dict[str, Any], said: str
) -> None:
    """The evaluation fails with the name of what the metadata lack."""
    sample = Sample(input=json.dumps(QUERY), target="", metadata=metadata)
    task = Task([sample], solver=few_shot(), scorer=match())
    log = _run(tmp_path, task, "mockllm/model")
    assert log.error is not None
    assert said in log.error.message.replace("\\", "")  # where it is written with its quotes


def test_what_cannot_be_honoured_is_an_error(tmp_path: Path) -> None:
    """An option that would be ignored fails the evaluation with its name; so does a strategy."""
    sample = Sample(input=[*MESSAGES, ChatMessageUser(content=str(QUERY))], target=str(OUTPUT))
    task = Task([sample], config=GenerateConfig(temperature=0.7), scorer=match())
    log = _run(tmp_path, task, "autottt/icl-vote")
    assert log.status == "error"
    assert log.error is not None
    assert "temperature" in log.error.message
    with pytest.raises(UnknownNameError):
        get_model("autottt/nonsense")


def test_inspect_finds_us_by_the_entry_point() -> None:
    """The installed package says where its model and solver are."""
    (point,) = [p for p in entry_points(group="inspect_ai") if p.name == "autottt"]
    assert point.value == "autottt.plugins.inspect"


def test_without_inspect_ai_the_remedy_is_named() -> None:
    """The import ends with the command that installs what is missing."""
    code = "import sys; sys.modules['inspect_ai.model'] = None; import autottt.plugins.inspect"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(autottt.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "InputError: inspect_ai is missing; pip install 'autottt[inspect]'" in done.stderr
