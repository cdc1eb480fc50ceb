"""Grids as text: one cell is one character and one row one line; a line task has one row."""

from __future__ import annotations

from autottt.errors import TaskError
from autottt.types import Grid, as_grid

_DIGITS = bytes.maketrans(bytes(range(10)), b"0123456789")  # no cell has the code of a newline
_END = b"\n"


def grid_to_text(grid: Grid) -> str:
    """The rows of a grid, each ended by a newline."""
    return _END.join(bytes(row).translate(_DIGITS) for row in grid).decode() + "\n"


def text_to_grid(text: str) -> Grid:
    """The inverse of `grid_to_text`; trailing newlines are ignored. Raises `TaskError`."""
    body = text.rstrip("\n")
    if not body or not all(c in "0123456789\n" for c in body):
        raise TaskError(f"not a grid: {text[:60]!r}")
    return as_grid([[int(c) for c in line] for line in body.split("\n")])
