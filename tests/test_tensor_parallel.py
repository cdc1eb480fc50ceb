"""The embedded model in three processes, one for each of its heads, as a user meets it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch

from autottt import Solver, Task
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.adapters.tasks.files import load_tasks
from tests.adapters.models.test_ranks_faults import others

if torch.cuda.is_available():
    pytest.skip("the processes would take GPUs, which may be too few", allow_module_level=True)
TASK = Task.from_examples([([[1, 2, 3]], [[3, 2, 1]]), ([[4, 5]], [[5, 4]])], [[7, 8, 9]])


@pytest.fixture(scope="module")
def solver() -> Iterator[Solver]:
    """One that answers with the embedded model in parts."""
    made = Solver(settings=ModelSettings(tensor_parallel=3))
    yield made
    cast(HuggingFaceModel, made.model).close()


def test_a_task_is_solved_by_three_processes(solver: Solver, embedded: HuggingFaceModel) -> None:
    """Its gate and its adapters are the model's own, and it answers as in one process."""
    alone = Solver(embedded).solve(TASK, strategy="ttt-light")
    answer = solver.solve(TASK, strategy="ttt-light")
    assert solver.model.fingerprint == embedded.fingerprint
    assert answer.restored
    assert answer.answers[0][0].output == alone.answers[0][0].output
    assert answer.attempts[-1].steps == alone.attempts[-1].steps
    again = solver.solve(TASK, strategy="ttt-light")
    assert again.attempts[-1].reused  # its adapter was kept
    assert again.answers[0][0].output == answer.answers[0][0].output


def test_a_process_that_dies_costs_an_attempt(solver: Solver) -> None:
    """Killed in a training, the task is answered with what was in hand, and the next trains."""
    killed: list[int] = []

    def kill(kind: str, payload: Any) -> None:
        if kind == "decision" and not killed:
            killed.extend(others(cast(HuggingFaceModel, solver.model)))
            os.kill(killed[0], signal.SIGKILL)

    (hard,) = load_tasks("arc:a85d4709")  # which it trains for
    answer = solver.solve(hard, on_event=kill)
    assert killed
    failed = [attempt for attempt in answer.attempts if attempt.stop_reason == "failed"]
    assert "died" in (failed[0].error or "")
    assert answer.restored
    assert solver.solve(TASK, strategy="ttt-light").restored
