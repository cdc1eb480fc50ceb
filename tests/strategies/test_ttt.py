"""Test-time training where memory is short, and several tasks at once, on the fake model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from autottt import Solver
from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import Completion, TrainRecord, TrainSettings
from autottt.adapters.models.fake import FakeModel
from autottt.errors import StrategyError
from autottt.strategies.base import RunContext
from autottt.strategies.start import Shared
from autottt.strategies.ttt import TTT
from autottt.strategies.ttt_kv import KVPrefix
from autottt.types import Answer, Grid, Task, Value

FEW = TTT(training=TrainSettings(steps=2))
ROWS = 8  # of a step of these short tasks


def mirror(grid: Value) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in cast("Grid", grid))


def same(grid: Grid) -> Grid:
    """The rule of a model that has not understood."""
    return grid


class Narrow(FakeModel):
    """A model with room for so many rows, which notes those of each training, place by place."""

    room = 1000
    bears = 1000  # rows of a step, whatever is predicted
    answers = True  # whether memory does for answering
    noted: list[list[int]]

    def training_rows(self, length: int) -> int:
        return self.room

    def train(self, batches: Sequence[Any], *args: Any, **given: Any) -> list[TrainRecord]:
        rows = [len(batch(0)) for batch in batches]
        self.noted.append(rows)
        if max(rows) > self.bears:
            raise MemoryError
        return super().train(batches, *args, **given)

    def generate(self, prompts: Sequence[Sequence[int]], **given: Any) -> list[Completion]:
        if not self.answers:
            raise MemoryError
        return super().generate(prompts, **given)


@pytest.fixture
def model() -> Narrow:
    """One that understands once it is trained."""
    made = Narrow(before=same, after=mirror)
    made.noted = []
    return made


def task(first: int = 1, *, query: tuple[int, ...] = (9, 1, 0, 0)) -> Task:
    """Three lines and their mirror images."""
    lines = [[[first, 2, 0, 3]], [[4, 0, 0, 5]], [[6, 7, 8, 0]]]
    return Task.from_examples([(x, [x[0][::-1]]) for x in lines], [list(query)], id=str(first))


def answered(found: Sequence[Any]) -> list[Answer]:
    """All of them, each of which is right."""
    assert all(isinstance(answer, Answer) for answer in found)
    return list(found)


def test_answering_that_runs_out_of_memory_is_not_trained_for_again(model: Narrow) -> None:
    """The error is about answering, and what was trained serves when there is room."""
    context = RunContext(model, adapters=AdapterCache())
    model.answers = False
    for _ in range(2):  # the second with the adapter of the first
        with pytest.raises(StrategyError, match="answering after ttt ran out of memory"):
            FEW.run(task(), context)
    assert model.noted == [[ROWS]]
    model.answers = True
    attempt = FEW.run(task(), context)
    assert attempt.reused
    assert attempt.candidates[0][0].output == mirror(task().queries[0])
    assert model.noted == [[ROWS]]


def test_what_is_given_up_is_not_kept(model: Narrow) -> None:
    """An answer that fails leaves nothing of a training that a judge has ended."""
    context = RunContext(model, adapters=AdapterCache(), judge=lambda look: "enough")
    watching = replace(FEW, training=TrainSettings(steps=9, check_every=4))
    model.answers = False
    with pytest.raises(StrategyError, match="enough"):
        watching.run(task(), context)
    assert context.adapters is not None
    assert len(context.adapters) == 0


def test_rows_cut_by_memory_are_told_and_not_kept(model: Narrow) -> None:
    """A later training, with room, is not spared by one on fewer rows."""
    context = RunContext(model, adapters=AdapterCache())
    model.room = 3
    assert FEW.run(task(), context).stop_reason == "all steps; 3 rows a step, as memory is short"
    model.room = 1
    assert FEW.run(task(), context).stop_reason == "all steps; 1 row a step, as memory is short"
    model.room = ROWS
    whole = FEW.run(task(), context)
    assert whole.stop_reason == "all steps"
    assert not whole.reused
    assert FEW.run(task(), context).reused
    assert model.noted == [[3], [1], [ROWS]]


def test_a_shared_training_has_the_rows_that_memory_has_room_for(model: Narrow) -> None:
    """Which is told; it is trained once all the same, and nothing that starts from it is kept."""
    related = task(1), task(2)
    context = RunContext(model, adapters=AdapterCache(), related=related)
    strategy = replace(FEW, start=Shared(training=FEW.training))
    model.room = 3
    few = "3 rows a step, as memory is short"
    for one in related:
        told = strategy.run(one, context).stop_reason
        assert told == f"all steps; from an adapter shared by 2 tasks, {few}; {few}"
    assert model.noted == [[3], [3], [3]]
    assert context.adapters is not None
    assert len(context.adapters) == 1
    model.room = ROWS
    assert strategy.run(related[0], context).stop_reason.endswith("shared by 2 tasks")
    assert model.noted[3:] == [[ROWS], [ROWS]]
    model.room = 0
    with pytest.raises(StrategyError, match="more memory than is free"):
        strategy.run(related[1], context)


@pytest.mark.parametrize(
    ("room", "bears", "shared", "trained"),
    [
        (ROWS, 4, ROWS, [[ROWS], [4], [4]]),
        (4, 2, ROWS, [[4], [2], [2]]),
        (3, 2, ROWS, [[3], [1], [1]]),
        (ROWS, 4, 2, [[2], [ROWS], [4]]),  # what was trained before memory ran out is kept
    ],
)
def test_a_shared_training_that_runs_out_has_half_the_rows(
    model: Narrow, room: int, bears: int, shared: int, trained: list[list[int]]
) -> None:
    """Of those that it had."""
    model.room, model.bears = room, bears
    related = task(1), task(2)
    context = RunContext(model, adapters=AdapterCache(), related=related)
    strategy = replace(FEW, start=Shared(training=FEW.training, batch=shared))
    told = strategy.run(related[0], context).stop_reason
    assert "a step after running out of memory" in told
    assert model.noted == trained


def test_a_shared_training_of_one_row_that_runs_out_is_the_reason(model: Narrow) -> None:
    """There is nothing to halve."""
    model.room, model.bears = 1, 0
    context = RunContext(model, related=(task(1), task(2)))
    with pytest.raises(StrategyError, match="out of memory, even with 1 row a step"):
        replace(FEW, start=Shared(training=FEW.training)).run(task(1), context)
    assert model.noted == [[1]]


def test_a_prefix_needs_one_row_a_view_whatever_is_predicted(model: Narrow) -> None:
    """Its rows are short; nothing is said of memory, and its adapter is kept."""
    context = RunContext(model, adapters=AdapterCache())
    model.room = 0
    prefix = KVPrefix(training=TrainSettings(steps=1))
    assert prefix.run(task(), context).stop_reason == "all steps"
    assert prefix.run(task(), context).reused


@pytest.mark.parametrize(
    ("room", "trained"), [(2 * ROWS, [[ROWS, ROWS]]), (2 * ROWS - 1, [[ROWS]] * 2), (1, [[1]] * 2)]
)
def test_tasks_are_trained_together_where_the_rows_of_all_fit(
    model: Narrow, room: int, trained: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    """What memory has room for is shared by the places; else each is trained by itself."""
    model.room = room
    found = answered(Solver(model).solve_many([task(1), task(2)], strategy="ttt", together=2))
    assert [a.answers[0][0].output for a in found] == [mirror(task().queries[0])] * 2
    assert model.noted == trained
    assert ("fewer at once would do" in caplog.text) == (len(trained) > 1)


def test_the_first_of_tasks_with_the_same_demonstrations_is_trained(model: Narrow) -> None:
    """As one by one, where the second finds the adapter of the first."""
    tasks = [task(1), task(1, query=(0, 7, 0, 8)), task(2)]
    found = answered(Solver(model).solve_many(tasks[:2], strategy="ttt", together=2))
    assert model.noted == [[ROWS]]
    assert [a.attempts[-1].reused for a in found] == [False, True]
    cache, asked = AdapterCache(), list[Task]()

    class Asking(TTT):
        def _seeds(self, task: Task, context: RunContext) -> list[int]:
            asked.append(task)
            return super()._seeds(task, context)

    Asking(training=FEW.training).prepare(tasks, RunContext(model, adapters=cache))
    assert asked == [tasks[0], tasks[2]]
    assert model.noted[1:] == [[ROWS, ROWS]]
    assert len(cache) == 2
