"""Proposals: what the model answers to each query of a task under each view.

Prompts are built, checked against the context, answered in one batch, parsed and inverted here;
choosing among proposals is `vote`'s affair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from autottt.adapters.models.base import Completion, LanguageModel
from autottt.adapters.tasks.answers import choices_of
from autottt.adapters.tasks.formats import Shown
from autottt.adapters.tasks.prompts import text_to_value
from autottt.adapters.tasks.views import View
from autottt.errors import ContextLengthError, StrategyError, TaskError
from autottt.strategies.base import RunContext
from autottt.strategies.encoding import prompt_tokens, reply_tokens
from autottt.types import Task, Value

QUERIES = 8  # that follow trained prefixes at once: each has all prefixes to itself
T = TypeVar("T")
SLACK = 8  # tokens an answer may be longer than the demonstrations suggest


@dataclass(frozen=True)
class Proposal:
    """One view's answer to one query; `output` is None where the completion is none.

    `tokens` are those of the prompt and of the completion.
    """

    query: int
    view: View
    output: Value | None
    completion: Completion
    tokens: int

    @property
    def log_probability(self) -> float:
        """Of the whole completion, in nats."""
        return sum(self.completion.log_probabilities)


def answer_limit(task: Task, query: int, model: LanguageModel) -> int:
    """How many tokens the answer to a query may take, judged by the demonstrations' lengths.

    Of numbers and choices no answer is longer for a longer question. The task's `max_characters` is
    a bound too: a token is at least a character.
    """

    def written(value: Value) -> int:  # as answers are: elsewhere a tokenizer may merge digits
        return max(1, len(reply_tokens(task, value, model)))

    asked = written(task.queries[query])
    limit: float = max(map(written, choices_of(task, task.queries[query])), default=0)
    for example in task.demonstrations:
        output = written(example.output)
        grown = output * asked / written(example.input) if task.answer.kind == "text" else 0
        limit = max(limit, output, grown)
    if task.answer.max_characters is not None:
        limit = min(limit, 4 * task.answer.max_characters)
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


def prompt_ids(
    task: Task, query: int, model: LanguageModel, *, shown: Shown = "prompt"
) -> list[int]:
    """The token ids of the prompt for one query."""
    return prompt_tokens(task, task.queries[query], model, shown=shown)


@dataclass(frozen=True)
class Placed:
    """A prompt that fits the context, and whose it is."""

    query: int
    view: View
    ids: list[int]


def place_prompts(
    task: Task, views: Sequence[View], context: RunContext, *, shown: Shown = "prompt"
) -> tuple[list[Placed], int]:
    """The prompts of every query under every view, and how many tokens an answer may take.

    Views that do not fit the context are left out; raises `StrategyError` where none fits.
    """
    model = context.model
    placed: list[Placed] = []
    limit = 0
    for view in views:
        seen = view.apply(task)
        for query in range(len(task.queries)):
            ids = prompt_ids(seen, query, model, shown=shown)
            needed = answer_limit(seen, query, model)
            if len(ids) + max(needed, limit) > model.context:
                continue
            limit = max(limit, needed)
            placed.append(Placed(query, view, ids))
    if {place.query for place in placed} != set(range(len(task.queries))):
        raise StrategyError(f"task {task.id!r} does not fit the context of {model.context} tokens")
    return placed, min(limit, model.context - max(len(p.ids) for p in placed))


def parts(placed: Sequence[Placed], shown: Shown, size: int) -> list[Sequence[Placed]]:
    """What is read at once: `size` prompts, or after trained prefixes those of a few queries.

    The rows of all prefixes stay together, so that the model cannot part them as memory asks for.
    """
    if shown != "prefix":
        return [placed[begin : begin + size] for begin in range(0, len(placed), size)]
    groups = sorted({place.query // QUERIES for place in placed})
    return [[place for place in placed if place.query // QUERIES == group] for group in groups]


def _read(
    placed: Sequence[Placed], shown: Shown, read: Callable[[list[list[int]]], list[T]]
) -> Iterator[tuple[Placed, T]]:
    """Every prompt, with what reading it gave."""
    for some in parts(placed, shown, len(placed)):
        yield from zip(some, read([place.ids for place in some]), strict=True)


def propose(
    task: Task, views: Sequence[View], context: RunContext, *, shown: Shown = "prompt"
) -> list[Proposal]:
    """Answer every query under every view greedily, in one batch; see `place_prompts`."""
    placed, limit = place_prompts(task, views, context, shown=shown)
    generate = partial(
        context.model.generate,
        max_new_tokens=limit,
        stop=context.model.format.stop,
        deadline=context.deadline,
    )
    return [_proposal(place, done, task) for place, done in _read(placed, shown, generate)]


def expand(
    task: Task, views: Sequence[View], context: RunContext, least: float, *, shown: Shown = "prompt"
) -> list[Proposal]:
    """Every completion with a probability of at least `least`, of every query under every view."""
    placed, limit = place_prompts(task, views, context, shown=shown)
    search = partial(
        context.model.search,
        max_new_tokens=limit,
        stop=context.model.format.stop,
        least=least,
        deadline=context.deadline,
    )
    return [
        _proposal(place, done, task)
        for place, some in _read(placed, shown, search)
        for done in some
    ]


def _proposal(place: Placed, done: Completion, task: Task) -> Proposal:
    tokens = len(place.ids) + len(done.log_probabilities)
    return Proposal(
        place.query, place.view, parse(done, place.view, task, place.query), done, tokens
    )


def parse(done: Completion, view: View, task: Task, query: int) -> Value | None:
    """The output that a completion under a view means, or None."""
    if not done.finished:
        return None
    asked = task.queries[query]
    try:
        found = text_to_value(done.text, task, view.apply_input(asked))
        return view.invert_output(found, asked)
    except TaskError:
        return None
