"""Proposals: what the model answers to each query of a task under each view.

Prompts are built, checked against the context, answered in one batch, parsed and inverted here;
choosing among proposals is `vote`'s affair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autottt.adapters.models.base import Completion, LanguageModel
from autottt.adapters.tasks.prompts import (
    STOP,
    completion,
    prompt,
    text_to_value,
    value_to_text,
)
from autottt.adapters.tasks.views import View
from autottt.errors import ContextLengthError, StrategyError, TaskError
from autottt.strategies.base import RunContext
from autottt.types import Task, Value

SLACK = 8  # tokens an answer may be longer than the demonstrations suggest


@dataclass(frozen=True)
class Proposal:
    """One view's answer to one query; `output` is None where the completion is none."""

    query: int
    view: View
    output: Value | None
    completion: Completion

    @property
    def log_probability(self) -> float:
        """Of the whole completion, in nats."""
        return sum(self.completion.log_probabilities)


def answer_limit(task: Task, query: int, model: LanguageModel) -> int:
    """How many tokens the answer to a query may take, judged by the demonstrations' sizes."""
    asked = len(value_to_text(task.queries[query]))
    limit = 0.0
    for example in task.demonstrations:
        source, output = len(value_to_text(example.input)), len(completion(example.output))
        limit = max(limit, output, output * asked / source)
    return math.ceil(limit) + SLACK


def fits(task: Task, model: LanguageModel) -> str | None:
    """Why the task's own prompts do not fit the model's context, or None."""
    try:
        check_context(task, model)
    except ContextLengthError as error:
        return str(error)
    return None


def check_context(task: Task, model: LanguageModel) -> None:
    """Raise `ContextLengthError` where a query's prompt and answer do not fit, under any order."""
    for query in range(len(task.queries)):
        ids = prompt_ids(task, query, model)
        needed = len(ids) + answer_limit(task, query, model)
        if needed > model.context:
            raise ContextLengthError(needed, model.context)


def prompt_ids(task: Task, query: int, model: LanguageModel) -> list[int]:
    """The token ids of the prompt for one query."""
    return model.start() + model.encode(prompt(task.demonstrations, task.queries[query]))


def propose(task: Task, views: Sequence[View], context: RunContext) -> list[Proposal]:
    """Answer every query under every view in one batch; views that do not fit are left out.

    Raises `StrategyError` where no view fits.
    """
    model = context.model
    places: list[tuple[int, View]] = []
    prompts: list[list[int]] = []
    limit = 0
    for view in views:
        seen = view.apply(task)
        for query in range(len(task.queries)):
            ids = prompt_ids(seen, query, model)
            needed = answer_limit(seen, query, model)
            if len(ids) + max(needed, limit) > model.context:
                continue
            limit = max(limit, needed)
            places.append((query, view))
            prompts.append(ids)
    if {query for query, _ in places} != set(range(len(task.queries))):
        raise StrategyError(f"task {task.id!r} does not fit the context of {model.context} tokens")
    limit = min(limit, model.context - max(len(p) for p in prompts))
    completions = model.generate(
        prompts, max_new_tokens=limit, stop=STOP, deadline=context.deadline
    )
    return [
        Proposal(query, view, _parse(done, view, task), done)
        for (query, view), done in zip(places, completions, strict=True)
    ]


def _parse(done: Completion, view: View, task: Task) -> Value | None:
    if not done.finished:
        return None
    try:
        return view.invert_value(text_to_value(done.text, task))
    except TaskError:
        return None
