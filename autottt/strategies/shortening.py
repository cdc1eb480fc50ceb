"""What becomes of a task that is longer than the model's context: demonstrations are left out.

The longest go first, so that as many as possible stay, and never fewer than two. The others keep
their order. Whoever asks is told.
"""

from __future__ import annotations

from dataclasses import replace

from autottt.adapters.models.base import LanguageModel
from autottt.errors import ContextLengthError
from autottt.strategies.encoding import encode
from autottt.strategies.proposals import check_context
from autottt.types import Task

LEAST = 2  # demonstrations that stay, where there are so many


def shortened(task: Task, model: LanguageModel) -> tuple[Task, str | None]:
    """The task as it fits the context, and what was done to it, if anything.

    Raises `ContextLengthError` where it does not fit with two demonstrations.
    """
    first: ContextLengthError | None = None
    shown = list(task.demonstrations)
    plain = replace(task, instruction="")  # which stays whatever goes
    lengths = [len(encode(turn, model).ids) for turn in model.format.turns(plain)]
    while True:
        try:
            check_context(replace(task, demonstrations=tuple(shown)), model)
            break
        except ContextLengthError as error:
            if len(shown) <= LEAST:
                raise
            first = first or error
        place = max(range(len(shown)), key=lambda i: lengths[i])
        del shown[place], lengths[place]
    if first is None:
        return task, None
    gone = len(task.demonstrations) - len(shown)
    said = (
        f"{gone} of {len(task.demonstrations)} demonstrations were left out, the longest: with all "
        f"of them {first.needed} tokens are needed, and the model's context is {first.available}"
    )
    return replace(task, demonstrations=tuple(shown)), said
