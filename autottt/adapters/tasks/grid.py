"""Grids as text: one cell is one character and one row one line; a line task has one row."""

from __future__ import annotations

from autottt.errors import TaskError
from autottt.types import Grid, as_grid


def grid_to_text(grid: Grid) -> str:
    """The rows of a grid, each ended by a newline."""
    return "".join("".join(map(str, row)) + "\n" for row in grid)


def text_to_grid(text: str) -> Grid:
    """The inverse of `grid_to_text`; trailing newlines are ignored. Raises `TaskError`."""
    body = text.rstrip("\n")
    if not body or not all(c in "0123456789\n" for c in body):
        raise TaskError(f"not a grid: {text[:60]!r}")
    return as_grid([[int(c) for c in line] for line in body.split("\n")])
