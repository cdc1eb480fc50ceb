"""Prompts and training rows as tokens, in the format of the model."""

from __future__ import annotations

from collections.abc import Sequence

from autottt.adapters.models.base import LanguageModel, TokenSequence
from autottt.adapters.tasks.formats import Part, Shown, joined
from autottt.types import Task, Value


def opening(model: LanguageModel) -> list[int]:
    """The tokens before the first part of a prompt."""
    return [] if model.format.marked else model.start()


def encode(
    parts: Sequence[Part],
    model: LanguageModel,
    *,
    before: Sequence[int] = (),
    follows: bool = False,
) -> TokenSequence:
    """The parts' tokens, each part by itself, after the tokens `before`; outputs are targets.

    `follows` says that they come after text whose tokens are not in `before`.
    """
    ids, is_target = list(before), [False] * len(before)
    opened = len(opening(model))
    for part in joined(parts):
        own = model.encode(part.text, control=part.control, follows=follows or len(ids) > opened)
        ids += own
        is_target += [part.target] * len(own)
    return TokenSequence(tuple(ids), tuple(is_target))


def prompt_tokens(
    task: Task, query: Value, model: LanguageModel, *, shown: Shown = "prompt"
) -> list[int]:
    """The prompt for a query; under a trained prefix only what comes after it."""
    after = shown == "prefix"
    before = [] if after else opening(model)
    parts = model.format.ask(task, query, shown=shown)
    return list(encode(parts, model, before=before, follows=after).ids)


def reply_tokens(task: Task, output: Value, model: LanguageModel) -> list[int]:
    """An answer and what ends it, after a prompt."""
    parts = joined(model.format.reply(task, output))
    return [i for p in parts for i in model.encode(p.text, control=p.control, follows=True)]
