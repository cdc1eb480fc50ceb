"""Training the demonstrations' key-value prefix instead of weights (CT-KV: Lu et al., 2025).

Each view of the task has a prefix of its own, which starts as the cache of its demonstrations, so
before the first step it answers as ICL does. A training row is one demonstration, which may not
look at its own place in the prefix. The rows are short, as no row reads the demonstrations again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from autottt.adapters.models.adapter_cache import AdapterKey
from autottt.adapters.models.base import (
    AdapterSettings,
    Batches,
    LanguageModel,
    PrefixSettings,
    Session,
    TokenSequence,
    TrainSettings,
)
from autottt.strategies.answering import Answering, Member, Views, Vote
from autottt.strategies.base import RunContext
from autottt.strategies.encoding import prompt_tokens, reply_tokens
from autottt.strategies.sequences import ROWS, demonstration_sequence
from autottt.strategies.ttt import TTT
from autottt.types import Task

PREFIXED = Views(shown="prefix")  # the prefix stands for the demonstrations


@dataclass(frozen=True)
class KVPrefix(TTT):
    """One trained prefix for each of eight views."""

    name: str = "ttt-kv"
    summary: str = "trains the key-value prefix of the demonstrations, weights untouched (CT-KV)"
    adapter: AdapterSettings = field(default_factory=lambda: PrefixSettings(()))  # prompts by task
    training: TrainSettings = field(
        default_factory=lambda: TrainSettings(steps=30, learning_rate=3e-3, scaled=False)
    )
    dropout: float = 0.05
    answering: Answering = field(default_factory=lambda: Vote(PREFIXED))

    @property
    def recipe(self) -> str:
        return f"prefix {ROWS} {self.training!r} {self.dropout}"

    def _key(self, task: Task, context: RunContext) -> AdapterKey:
        """Views depend on the queries too, and a prefix is of one view."""
        prompts = repr(self._settings(task, context).prompts).encode()
        key = super()._key(task, context)
        return replace(key, recipe=f"{key.recipe} {hashlib.sha256(prompts).hexdigest()}")

    def prepare(self, tasks: Sequence[Task], context: RunContext) -> None:
        """Prefixes of several tasks differ in length and are not trained together."""

    def _settings(self, task: Task, context: RunContext) -> PrefixSettings:
        prompts = [
            demonstration_sequence(seen, context.model).ids for seen in self._places(task, context)
        ]
        return PrefixSettings(tuple(prompts), self.dropout)

    def _places(self, task: Task, context: RunContext) -> list[Task]:
        return [view.apply(task) for view in PREFIXED.draw(task, context.seed)]

    def _members(self, session: Session, places: int) -> list[Member]:
        return [lambda: session.select(None)]  # all at once: the views are in the same order

    def _wanted(self, task: Task, context: RunContext) -> int:
        return 1  # of each view

    def _rows(self, task: Task, context: RunContext) -> int:
        return 1

    def batches(self, task: Task, context: RunContext, rows: int | None = None) -> Batches:
        pairs = _pairs(task, context.model)
        return lambda step: [pairs[step % len(pairs)]]


def _pairs(task: Task, model: LanguageModel) -> list[TokenSequence]:
    """Every demonstration alone, blind to its own place in the prefix."""
    rows = []
    for place, example in enumerate(task.demonstrations):
        until = len(_first(task, place + 1, model))
        begin = len(_first(task, place, model)) if place else _introduction(task, model)
        asked = prompt_tokens(task, example.input, model, shown="prefix")
        wanted = reply_tokens(task, example.output, model)
        mask = (False,) * len(asked) + (True,) * len(wanted)
        rows.append(TokenSequence(tuple(asked + wanted), mask, (begin, until)))
    return rows


def _introduction(task: Task, model: LanguageModel) -> int:
    """How many tokens stand before the first demonstration, whichever it is."""
    one, *others = (
        _first(replace(task, demonstrations=(shown,)), 1, model) for shown in task.demonstrations
    )
    alike = (takewhile(lambda pair: pair[0] == pair[1], zip(one, other)) for other in others)
    return min((len(list(pairs)) for pairs in alike), default=len(model.start()))


def _first(task: Task, count: int, model: LanguageModel) -> tuple[int, ...]:
    shown = replace(task, demonstrations=task.demonstrations[:count])
    return demonstration_sequence(shown, model).ids
