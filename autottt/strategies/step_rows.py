"""How many rows a training step has memory for, by prediction, and what to say of too few."""

from __future__ import annotations

from collections.abc import Sequence

from autottt.adapters.models.base import LanguageModel
from autottt.errors import StrategyError
from autottt.strategies.sequences import demonstration_sequence
from autottt.types import Task


def row_length(task: Task, model: LanguageModel) -> int:
    """How many tokens a training row has, about."""
    return max(1, len(demonstration_sequence(task, model).ids))


def rows_fitting(places: Sequence[Task], model: LanguageModel) -> int:
    """How many rows of each of these a step has memory for, by prediction."""
    longest = max(row_length(task, model) for task in places)
    return model.training_rows(longest) // len(places)


def rows_in_memory(wanted: int, tasks: Sequence[Task], model: LanguageModel) -> int:
    """So many of the rows wanted, each of any of these; raises `StrategyError` where none fits."""
    longest = max(row_length(task, model) for task in tasks)
    most = model.training_rows(longest)
    if most < 1:
        raise StrategyError(
            f"training on {longest} tokens is predicted to need more memory than is free; a "
            "shorter task or a smaller model needs less"
        )
    return min(wanted, most)


def in_words(count: int) -> str:
    """A number of rows."""
    return f"{count} row{'s' * (count > 1)}"


def short_of_memory(rows: int) -> str:
    """What a trace says of a step with fewer rows than were wanted."""
    return f"{in_words(rows)} a step, as memory is short"


def no_room(rows: int) -> str:
    """Why a training failed that ran out of memory, with so many rows a step at last."""
    return (
        f"out of memory, even with {in_words(rows)} a step; a smaller model, a shorter task or a "
        "lower rank needs less"
    )
