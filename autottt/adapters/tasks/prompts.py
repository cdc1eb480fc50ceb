"""Values as text, and completions as values; the embedded model's own way to write a prompt.

A grid is written one cell a character and one row a line, a sequence with spaces between its items,
a text as it is. Each ends with a line's end. In the embedded model's prompts `>` parts input from
output and an empty line ends a demonstration; `formats` has other ways. The module knows nothing of
tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from autottt.adapters.tasks.answers import read_answer, said
from autottt.adapters.tasks.grid import grid_to_text, text_to_grid
from autottt.errors import TaskError
from autottt.types import EMPTY, Example, Grid, Items, Task, Value, as_items, domain_of

STOP = "\n\n"  # the text that ends every answer


def value_to_text(value: Value) -> str:
    """An input or output as lines, each ended by a newline."""
    match domain_of(value):
        case "text":
            return f"{value}\n"
        case "sequence":
            return " ".join(map(str, cast("Items", value))) + "\n" if value else f"{EMPTY}\n"
        case _:
            return grid_to_text(cast("Grid", value))


def text_to_value(text: str, task: Task, asked: Value = "") -> Value:
    """What a completion says, as a value of the task's domain. Raises `TaskError`.

    Spaces in a grid mean nothing, nor do empty lines before it: some formats put them there. What a
    model thinks first is no part of it.
    """
    text = said(text)
    match task.domain:
        case "text":
            return read_answer(text, task.answer, str(asked))
        case "sequence":
            return _items(text, task)
        case _:
            return text_to_grid(text.replace(" ", "").lstrip("\n"))


def _items(text: str, task: Task) -> Items:
    """Numbers where every item of the outputs is one (if there are none: of the inputs)."""
    words = text.split()
    if words == [EMPTY]:
        return ()
    outputs = [item for e in task.demonstrations for item in cast("Items", e.output)]
    inputs = [item for e in task.demonstrations for item in cast("Items", e.input)]
    if any(isinstance(item, str) for item in outputs or inputs):
        return as_items(words)
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        raise TaskError(f"not whole numbers: {text[:60]!r}") from None
    return as_items(numbers)


def completion(output: Value) -> str:
    """What the model should write after a prompt: the output's lines and the empty line."""
    return value_to_text(output) + "\n"


def prompt_parts(demonstrations: Sequence[Example], query: Value) -> list[tuple[str, bool]]:
    """The prompt as `(text, is_output)` parts; the outputs are the parts a loss may be taken on."""
    parts: list[tuple[str, bool]] = []
    for example in demonstrations:
        parts.append((value_to_text(example.input) + ">", False))
        parts.append((completion(example.output), True))
    parts.append((value_to_text(query) + ">", False))
    return parts


def prompt(demonstrations: Sequence[Example], query: Value) -> str:
    """The whole prompt: demonstrations, then the query and `>`."""
    return "".join(text for text, _ in prompt_parts(demonstrations, query))
