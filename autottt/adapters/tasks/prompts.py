"""Tasks as text: how demonstrations and a query become a prompt, and a completion becomes a value.

A grid is written one cell a character and one row a line, a text as it is and then a line's end;
`>` parts input from output and an empty line ends a demonstration. The module knows nothing of
tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence

from autottt.adapters.tasks.grid import grid_to_text, text_to_grid
from autottt.types import Example, Task, Value, as_text

STOP = "\n\n"  # the text that ends every answer


def value_to_text(value: Value) -> str:
    """An input or output as lines, each ended by a newline."""
    return f"{value}\n" if isinstance(value, str) else grid_to_text(value)


def text_to_value(text: str, task: Task) -> Value:
    """What a completion says, as a value of the task's domain. Raises `TaskError`."""
    return as_text(text.rstrip("\n")) if task.domain == "text" else text_to_grid(text)


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
