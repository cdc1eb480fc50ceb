"""In-context learning: answer from the demonstrations in the prompt, weights untouched.

`icl` is greedy decoding of the plain prompt; `icl-vote` decodes several views and lets them vote.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from autottt.adapters.models.base import LanguageModel
from autottt.adapters.tasks.views import draw_views
from autottt.strategies.base import RunContext
from autottt.strategies.proposals import Proposal, fits, prompt_ids, propose
from autottt.strategies.vote import evidence, rank_all
from autottt.types import Attempt, Task

VIEWS = 8


@dataclass(frozen=True)
class ICL:
    """Greedy decoding over `views` views of the task, inverted and voted."""

    name: str = "icl-vote"
    summary: str = f"in-context learning over {VIEWS} views, inverted, majority vote"
    views: int = VIEWS
    trains: bool = False

    def unavailable(self, task: Task, model: LanguageModel) -> str | None:
        return fits(task, model)

    def run(self, task: Task, context: RunContext) -> Attempt:
        begin = time.perf_counter()
        views = draw_views(task, self.views, np.random.default_rng(context.seed))
        proposals = propose(task, views, context)
        return Attempt(
            strategy=self.name,
            candidates=rank_all(proposals, len(task.queries)),
            seconds=time.perf_counter() - begin,
            tokens=tokens_used(task, proposals, context.model),
            evidence=evidence(proposals, len(task.queries)),
        )


def tokens_used(task: Task, proposals: list[Proposal], model: LanguageModel) -> int:
    """Tokens read and written: the prompts' lengths (of the plain view) and the completions'."""
    lengths = [len(prompt_ids(task, query, model)) for query in range(len(task.queries))]
    return sum(lengths[p.query] + len(p.completion.log_probabilities) for p in proposals)
