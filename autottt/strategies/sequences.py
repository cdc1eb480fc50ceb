"""What a training row is: the task's demonstrations, seen through a random view, as tokens.

`all_outputs` shows all demonstrations in a random order with loss on every output, so one pass
covers the leave-one-out problems of every prefix (Fewshot-TTT's form of Akyürek et al., 2025).
`one_order` keeps their order, `permutation` all else. `direct` is one pair without context, the
paper's ablation. `held_out` is a demonstration as the query of the others, for watching a training
whose rows took no loss on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from autottt.adapters.models.base import LanguageModel, TokenSequence
from autottt.adapters.tasks.views import draw_view, draw_views, keep_colours
from autottt.strategies.encoding import encode, opening, prompt_tokens, reply_tokens
from autottt.types import Task

ROWS = 3  # the version of these forms: adapters that were trained on other rows are not used again
# (task, rng, model, the demonstration that is no target) -> a training row
Form = Callable[[Task, np.random.Generator, LanguageModel, int | None], TokenSequence]


def all_outputs(
    task: Task, rng: np.random.Generator, model: LanguageModel, without: int | None = None
) -> TokenSequence:
    """All demonstrations in a random order; every output but one left out is a target."""
    order = tuple(int(i) for i in rng.permutation(len(task.demonstrations)))
    shown = replace(draw_view(task, rng), order=order).apply(task)
    return demonstration_sequence(shown, model, None if without is None else order.index(without))


def one_order(
    task: Task, rng: np.random.Generator, model: LanguageModel, without: int | None = None
) -> TokenSequence:
    """All demonstrations in the order of the task; every output but one left out is a target."""
    shown = replace(draw_view(task, rng), order=None).apply(task)
    return demonstration_sequence(shown, model, without)


def permutation(
    task: Task, rng: np.random.Generator, model: LanguageModel, without: int | None = None
) -> TokenSequence:
    """All demonstrations in a random order and otherwise as they are (Fewshot-TTT)."""
    order = [int(i) for i in rng.permutation(len(task.demonstrations))]
    shown = replace(task, demonstrations=tuple(task.demonstrations[i] for i in order))
    return demonstration_sequence(shown, model, None if without is None else order.index(without))


def direct(
    task: Task, rng: np.random.Generator, model: LanguageModel, without: int | None = None
) -> TokenSequence:
    """One demonstration without context, under a symmetry; its output is the target."""
    shown = replace(keep_colours(draw_view(task, rng)), order=None).apply(task)
    places = [place for place in range(len(shown.demonstrations)) if place != without]
    chosen = shown.demonstrations[places[int(rng.integers(len(places)))]]
    return demonstration_sequence(replace(shown, demonstrations=(chosen,)), model)


def demonstration_sequence(
    task: Task, model: LanguageModel, without: int | None = None
) -> TokenSequence:
    """The demonstrations as one sequence, cut to what the context holds; outputs are targets.

    The output of the demonstration at the place `without` is context alone.
    """
    start = tuple(opening(model))
    found = TokenSequence(start, (False,) * len(start))
    for place, turn in enumerate(model.format.turns(task)):
        more = encode(turn, model, before=found.ids)
        if len(more.ids) > model.context:
            break
        new = more.is_target[len(found.ids) :]
        kept = new if place != without else (False,) * len(new)
        found = TokenSequence(more.ids, found.is_target + kept)
    return found


def held_out(
    task: Task, place: int, views: int, seed: int, model: LanguageModel
) -> list[TokenSequence]:
    """The demonstration at `place` as the query of the others, under those views that fit."""
    shown = task.demonstrations
    asked = replace(
        task,
        demonstrations=(*shown[:place], *shown[place + 1 :]),
        queries=(shown[place].input,),
        targets=(shown[place].output,),
    )
    sequences = []
    for view in draw_views(asked, views, np.random.default_rng(seed)):
        seen = view.apply(asked)
        assert seen.targets is not None
        before = prompt_tokens(seen, seen.queries[0], model)
        answer = reply_tokens(seen, seen.targets[0], model)
        if len(before) + len(answer) <= model.context:
            mask = (False,) * len(before) + (True,) * len(answer)
            sequences.append(TokenSequence(tuple(before + answer), mask))
    return sequences
