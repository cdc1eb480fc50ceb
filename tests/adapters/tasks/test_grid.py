"""Grids as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.tasks.grid import grid_to_text, text_to_grid
from autottt.errors import TaskError
from autottt.types import COLOURS, MAX_LINE, MAX_SIDE, Grid, as_grid


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    height = draw(st.integers(1, MAX_SIDE))
    width = draw(st.integers(1, MAX_LINE if height == 1 else MAX_SIDE))
    cells = draw(st.binary(min_size=height * width, max_size=height * width))
    return tuple(
        tuple(c % COLOURS for c in cells[i * width : (i + 1) * width]) for i in range(height)
    )


@given(grids())
def test_parsing_inverts_serialising(grid: Grid) -> None:
    """Any grid survives the way to text and back."""
    assert text_to_grid(grid_to_text(grid)) == grid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "12\n3\n",
        "12\n\n34\n",
        "1 2\n",
        "1a\n",
        "-1\n",
        "\u0663\n",
        "1\n" * (MAX_SIDE + 1),
        "1" * (MAX_LINE + 1),
        ("1" * (MAX_SIDE + 1) + "\n") * 2,
    ],
)
def test_what_is_not_a_grid_is_refused(text: str) -> None:
    """Empty, ragged, foreign or oversized text raises `TaskError`."""
    with pytest.raises(TaskError):
        text_to_grid(text)


@pytest.mark.parametrize("shape", [(MAX_SIDE, MAX_SIDE), (1, MAX_LINE), (MAX_SIDE, 1)])
def test_the_largest_grids_are_accepted(shape: tuple[int, int]) -> None:
    """The limits belong to what is allowed."""
    height, width = shape
    assert len(as_grid([[0] * width] * height)) == height


@pytest.mark.parametrize("cell", [10, -1, 1.0, True, "1", None])
def test_a_cell_is_a_whole_number_from_0_to_9(cell: object) -> None:
    """Anything but an integer from 0 to 9 is refused with its value."""
    with pytest.raises(TaskError, match="0 to 9"):
        as_grid([[0, cell]])  # type: ignore[list-item]
