"""The library's front door: seeds, and tasks that are related to the one that is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from autottt import Solver
from autottt.adapters.models.fake import FakeModel
from autottt.errors import InputError, TaskError
from autottt.strategies import registry
from autottt.strategies.base import RunContext
from autottt.types import Answer, AnswerFormat, Attempt, Candidate, Task

LIMITED = AnswerFormat("choice", ("yes", "no"))


@dataclass(frozen=True)
class Listening:
    """A strategy that notes the related tasks it is given."""

    name: str = "listening"
    summary: str = "says yes"
    trains: bool = False
    heard: list[tuple[Task, ...]] = field(default_factory=list)

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        return None

    def run(self, task: Task, context: RunContext) -> Attempt:
        self.heard.append(context.related)
        return Attempt(self.name, ((Candidate("yes", 1.0, 0.0),),), 0.0, 0)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Listening:
    """It, registered."""
    made = Listening()
    monkeypatch.setitem(registry._registered, made.name, made)
    return made


@pytest.fixture
def solver() -> Solver:
    """One with a model that is never asked."""
    return Solver(FakeModel(lambda grid: grid, lambda grid: grid))


def even(first: str, second: str = "no", *, id: str) -> Task:
    """Whether numbers are even, with those words for the answers."""
    shown = [("is 2 even", first), ("is 3 even", second)]
    return Task.from_examples(shown, "is 4 even", id=id, answer=LIMITED)


def words(tasks: tuple[Task, ...]) -> dict[str, list[str]]:
    """The outputs of the demonstrations, by task."""
    return {task.id: [str(e.output) for e in task.demonstrations] for task in tasks}


def test_related_tasks_are_checked_as_those_that_are_asked(
    solver: Solver, listening: Listening
) -> None:
    """Their answers are in the one form that is trained on; one that has none is left out."""
    sound, other, broken = even("YES.", id="sound"), even("yes", id="other"), even("so", id="x")
    solver.solve(other, strategy="listening", related=(sound, broken))
    assert words(listening.heard[0]) == {"sound": ["yes", "no"]}
    found = solver.solve_many([broken, sound, other], strategy="listening")
    assert isinstance(found[0], TaskError)
    assert all(isinstance(answer, Answer) for answer in found[1:])
    expected = {"sound": ["yes", "no"], "other": ["yes", "no"]}
    assert [words(related) for related in listening.heard[1:]] == [expected] * 2


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_is_none_is_an_input_error(
    solver: Solver, listening: Listening, seed: int
) -> None:
    """It names the seed, and nothing is run."""
    task = even("yes", id="one")
    with pytest.raises(InputError, match=f"not {seed}"):
        solver.solve(task, strategy="listening", seed=seed)
    with pytest.raises(InputError, match=f"not {seed}"):
        solver.solve_many([task], strategy="listening", seed=seed)
    assert listening.heard == []
