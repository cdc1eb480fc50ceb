"""Answering under a deadline: what is scored stops in time, and what then is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from autottt.adapters.models.base import Completion
from autottt.adapters.models.fake import FakeModel
from autottt.errors import StrategyError
from autottt.strategies import base
from autottt.strategies.answering import Answered, Choose, Search, Views, over_rivals
from autottt.strategies.base import RunContext
from autottt.strategies.scoring import AT_ONCE
from autottt.types import AnswerFormat, Candidate, Grid, Task

LINES = [[[1, 2, 0, 3]], [[4, 0, 0, 5]], [[6, 7, 8, 0]]]
TASK = Task.from_examples([(x, [x[0][::-1]]) for x in LINES], [[9, 1, 0, 0]])
ROTATED, KEPT = ((0, 0, 1, 9),), ((9, 1, 0, 0),)


def mirror(grid: Grid) -> Grid:
    """The rule of the task."""
    return tuple(row[::-1] for row in grid)


@dataclass
class Slow(FakeModel):
    """A model that takes a second to score answers, and finds none more probable than another."""

    now: float = 0.0
    scored: list[int] = field(default_factory=list)  # prompts of each call

    def score_answers(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
    ) -> list[list[float]]:
        self.now += 1.0
        self.scored.append(len(prompts))
        return [[-1.0] * len(some) for some in answers]

    def search(self, prompts: Sequence[Sequence[int]], **given: Any) -> list[list[Completion]]:
        """The mirror image, and less probable the line as it is."""
        likely = super().search(prompts, **given)
        rule, self.before = self.before, lambda grid: grid
        other = super().search(prompts, **given)
        self.before = rule
        return [
            [one, replace(two, log_probabilities=(-2.0, -2.0))]
            for (one,), (two,) in zip(likely, other, strict=True)
        ]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """One whose clock is that of the deadlines."""
    made = Slow(mirror, mirror)
    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def test_options_that_a_deadline_leaves_unscored_are_no_answer(model: Slow) -> None:
    """It stops between groups of prompts, and the error says why."""
    pairs = [(f"is {n} even", "no" if n % 2 else "yes") for n in range(4)]
    limited = AnswerFormat("choice", ("yes", "no"))
    one = Task.from_examples(pairs, "is 6 even", answer=limited)
    task = replace(one, queries=one.queries * 6)
    views = Views(4)
    drawn = len(views.draw(task, 0))
    groups = -(-6 * drawn // AT_ONCE)
    assert groups > 1
    found = Choose(views).answer(task, RunContext(model))
    assert len(model.scored) == groups
    assert sum(model.scored) == 6 * drawn
    assert all(len(candidates) == 2 for candidates in found.candidates)
    assert Choose(views).answer(task, RunContext(model, deadline=1e9)) == found
    model.now, model.scored = 0.0, []
    with pytest.raises(StrategyError, match="deadline passed before every option was scored"):
        Choose(views).answer(task, RunContext(model, deadline=0.5))
    assert model.scored == [AT_ONCE]


def test_a_search_without_time_to_score_goes_by_what_it_has_found(model: Slow) -> None:
    """The likeliest as written comes first, with its share; nothing is said of a choice by all."""
    late = Search().answer(TASK, RunContext(model, deadline=0.0))
    assert model.scored == []
    assert [c.output for c in late.candidates[0]] == [ROTATED, KEPT]
    assert sum(c.score for c in late.candidates[0]) == pytest.approx(1.0)
    assert late.candidates[0][1].log_probability == -4.0
    assert late.evidence["candidates"] == 2
    assert "experts_share" not in late.evidence
    early = Search().answer(TASK, RunContext(model))
    assert early.tokens > late.tokens
    assert early.evidence["experts_share"] == 0.5


def test_nothing_is_compared_after_the_deadline(model: Slow) -> None:
    """Half of the scores would not do."""
    answered = Answered(((Candidate(ROTATED, 1.0, -1.0),),), {}, 0)

    def over(deadline: float | None) -> float | None:
        context = RunContext(model, deadline=deadline, rivals=(KEPT,))
        return over_rivals(TASK, answered, context.rivals, context, [], Views())

    assert over(None) == 0.0
    assert over(0.0) is None
