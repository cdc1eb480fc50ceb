"""Answering without training: the weights are untouched, and all rests on the prompt.

`zero-shot` asks without the demonstrations, `icl` decodes the plain prompt greedily, `icl-vote`
lets several views vote, `icl-experts` lets all of them score what was voted for, `icl-search` finds
candidates above a probability under several views and takes the one that all views together find
likeliest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from autottt.adapters.models.memory import within_memory
from autottt.strategies.answering import Answering, Vote
from autottt.strategies.base import RunContext
from autottt.strategies.proposals import fits
from autottt.types import COMPLETE, DEADLINE, Attempt, Task


@dataclass(frozen=True)
class ICL:
    """The model as it is, and a way to answer."""

    name: str = "icl-vote"
    summary: str = "in-context learning over 8 views, inverted, majority vote"
    answering: Answering = field(default_factory=Vote)
    trains: bool = False

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        return self.answering.unavailable(task) or fits(task, context.model)

    def run(self, task: Task, context: RunContext) -> Attempt:
        begin = time.perf_counter()
        answered = within_memory(lambda: self.answering.answer(task, context), self.name)
        return Attempt(
            strategy=self.name,
            candidates=answered.candidates,
            seconds=time.perf_counter() - begin,
            tokens=answered.tokens,
            stop_reason=DEADLINE if context.seconds_left() == 0 else COMPLETE,
            evidence=answered.evidence,
        )
