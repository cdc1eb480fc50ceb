"""A server under load, on a small scale; `autottt bench-serve` is the large one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from autottt.evaluation.bench_serve import Load, Question, ask_directly, draw_tasks, run_load
from autottt.solver import Solver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autottt.adapters.models.huggingface import HuggingFaceModel

TASKS = 2


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as a worker has, so that sums are rounded alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_no_answer_is_wrong_or_crossed_under_load(embedded: HuggingFaceModel) -> None:
    """Eight clients at once, while adaptations run: every answer is the solver's, the base is what
    it was, reading goes on, and memory stays."""
    tasks = draw_tasks(TASKS, 0, max_cells=60)
    questions: list[Question] = ask_directly(Solver(embedded), tasks, 0)
    found = run_load(questions, Load(clients=8, requests=60, tasks=TASKS, alone=5))
    assert found["wrong"] == []
    assert found["statuses"].keys() <= {"200", "422", "429"}
    assert found["training"]["requests"] == 5
    assert found["mixed"]["autottt-icl"]["requests"] > 40
    assert found["memory_last"] < 1.2 * found["memory_first"]
