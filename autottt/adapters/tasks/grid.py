"""Grids as text: how a task becomes a prompt and a completion becomes a grid.

One cell is one character, one row one line; `>` parts input from output and an empty line ends a
demonstration. A line task is a grid of one row. The module knows nothing of tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence

from autottt.errors import TaskError
from autottt.types import Example, Grid, as_grid

STOP = "\n\n"  # the text that ends every answer


def grid_to_text(grid: Grid) -> str:
    """The rows of a grid, each ended by a newline."""
    return "".join("".join(map(str, row)) + "\n" for row in grid)


def text_to_grid(text: str) -> Grid:
    """The inverse of `grid_to_text`; trailing newlines are ignored. Raises `TaskError`."""
    body = text.rstrip("\n")
    if not body or not all(c in "0123456789\n" for c in body):
        raise TaskError(f"not a grid: {text[:60]!r}")
    return as_grid([[int(c) for c in line] for line in body.split("\n")])


def completion(output: Grid) -> str:
    """What the model should write after a prompt: the output's rows and the empty line."""
    return grid_to_text(output) + "\n"


def prompt_parts(demonstrations: Sequence[Example], query: Grid) -> list[tuple[str, bool]]:
    """The prompt as `(text, is_output)` parts; the outputs are the parts a loss may be taken on."""
    parts: list[tuple[str, bool]] = []
    for example in demonstrations:
        parts.append((grid_to_text(example.input) + ">", False))
        parts.append((completion(example.output), True))
    parts.append((grid_to_text(query) + ">", False))
    return parts


def prompt(demonstrations: Sequence[Example], query: Grid) -> str:
    """The whole prompt: demonstrations, then the query and `>`."""
    return "".join(text for text, _ in prompt_parts(demonstrations, query))
