"""Answering without training, where memory or time runs out."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from autottt.adapters.models.fake import FakeModel
from autottt.errors import StrategyError
from autottt.solver import Solver
from autottt.strategies import registry
from autottt.strategies.base import RunContext
from autottt.types import Answer, Grid, Task

LONG = 60  # tokens of a prompt


def mirror(grid: Grid) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in grid)


class Small(FakeModel):
    """A model that fails on long prompts."""

    error: BaseException = MemoryError()

    def generate(self, prompts: Any, **given: Any) -> Any:
        self._weigh(prompts)
        return super().generate(prompts, **given)

    def search(self, prompts: Any, **given: Any) -> Any:
        self._weigh(prompts)
        return super().search(prompts, **given)

    def _weigh(self, prompts: Any) -> None:
        if max(map(len, prompts)) > LONG:
            raise self.error


def make(width: int) -> Task:
    """A mirror task of rows that wide."""
    rows = [[(place + k) % 10 for k in range(width)] for place in range(4)]
    shown = [([row], [row[::-1]]) for row in rows]
    return Task.from_examples(shown[1:], shown[0][0], id=f"width{width}", target=shown[0][1])


def small(error: BaseException) -> Small:
    """A model that fails in that way."""
    model = Small(mirror, mirror)
    model.error = error
    return model


FULL = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("name", ["icl", "icl-experts", "icl-search", "icl-vote"])
def test_memory_running_out_is_a_typed_error(name: str, error: BaseException) -> None:
    """It names the strategy, and holds nothing of what the attempt had in memory."""
    with pytest.raises(StrategyError, match=f"{name} ran out of memory; a smaller model") as caught:
        registry.get(name).run(make(9), RunContext(small(error)))
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_another_failure_is_what_it_was() -> None:
    """A bug of the model is not taken for a lack of memory."""
    with pytest.raises(RuntimeError, match="a bug"):
        registry.get("icl").run(make(9), RunContext(small(RuntimeError("a bug"))))


@pytest.mark.parametrize("strategy", [None, "icl"])
def test_a_task_that_is_too_large_spoils_no_other(strategy: str | None) -> None:
    """Its error stands in its place, whether the controller decides or not."""
    found = Solver(small(MemoryError())).solve_many([make(9), make(3)], strategy=strategy)
    assert isinstance(found[0], StrategyError)
    assert isinstance(found[1], Answer)


@pytest.mark.parametrize(
    ("left", "reason"), [(None, "complete"), (60.0, "complete"), (0.0, "deadline")]
)
def test_a_vote_that_the_deadline_cut_says_so(left: float | None, reason: str) -> None:
    """As a training does; else it would look like a model that has no answer."""
    deadline = None if left is None else time.monotonic() + left
    context = RunContext(FakeModel(mirror, mirror), deadline=deadline)
    assert registry.get("icl-vote").run(make(9), context).stop_reason == reason
