"""Grids as coloured blocks."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from autottt.adapters.tasks.printable import printable_lines
from autottt.adapters.tasks.terminal import (
    PALETTE,
    answer_row,
    demonstrations,
    example_row,
    grid_block,
    query_row,
)
from autottt.types import COLOURS, Example, Grid, Task

TASK = Task.from_examples([([[1, 2]], [[2], [1]]), ([[3, 4]], [[4], [3]])], [[5, 6]])


def shown(renderable: RenderableType, *, width: int = 80) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system=None,
        legacy_windows=False,
    )
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_text_cannot_steer_the_terminal() -> None:
    """Its lines stay lines; escape sequences are replaced."""
    task = Task.from_examples([("a\x1b[2J\nb", "c"), ("d\te", "f")], "g")
    text = shown(demonstrations(task))
    assert "\x1b" not in text
    assert "a\ufffd[2J" in text
    assert "d       e" in text
    kept = "5\N{NO-BREAK SPACE}000\r\n\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH JOINER}"
    assert printable_lines(kept) == kept.replace("\r", "")
    assert any(line.strip() == "b" for line in text.splitlines())


def digits(text: str) -> list[str]:
    lines = ("".join(c for c in line if c.isdigit()) for line in text.splitlines())
    return [line for line in lines if line]


def test_a_block_carries_digits_and_colours() -> None:
    """A grid is readable without colours and painted with them, each digit on its own."""
    grid = (tuple(range(COLOURS)),)
    assert shown(grid_block(grid)).split() == list("0123456789")
    painted = [
        (piece.text.strip(), piece.style.bgcolor.name)
        for piece in Console(width=80).render(grid_block(grid))
        if piece.style is not None and piece.style.bgcolor is not None
    ]
    assert painted == [(str(digit), block) for digit, (_, block) in enumerate(PALETTE)]
    assert len({block for _, block in PALETTE}) == COLOURS


def test_a_demonstration_stands_side_by_side_where_it_fits() -> None:
    """Input, arrow and output share their lines in a wide terminal."""
    text = shown(example_row(TASK.demonstrations[0]))
    assert "demonstration 1x2" in text
    assert "→" in text
    assert digits(text)[1] == "122"


def test_a_demonstration_is_stacked_where_it_does_not_fit() -> None:
    """In a narrow terminal the output stands below the input and no cell is lost."""
    wide = Example(((1,) * 30,), ((2,) * 30,))
    text = shown(example_row(wide), width=40)
    assert digits(text) == ["130", "1" * 30, "130", "2" * 30]


def test_a_narrow_terminal_makes_cells_narrow_first() -> None:
    """Cells shrink to one column before grids are stacked."""
    pair = Example(((1,) * 30,), ((2,) * 30,))
    assert "1" * 30 + "   " in shown(example_row(pair), width=80)


def test_all_demonstrations_are_shown_and_numbered() -> None:
    """Every demonstration of a task appears under its number."""
    text = shown(demonstrations(TASK))
    assert "1 1x2" in text
    assert "2 1x2" in text
    assert "3 4" in text


def test_a_query_and_its_answers_stand_in_one_row() -> None:
    """A query is followed by the outputs proposed for it, under their captions."""
    text = shown(answer_row(TASK.queries[0], [((6, 5),), ((5, 5),)], captions=["0.80", "0.10"]))
    assert "query 1x2" in text
    assert "0.80" in text
    assert "0.10" in text
    assert digits(text)[-1] == "566555"
    assert digits(shown(query_row(TASK.queries[0])))[-1] == "56"


def test_a_row_without_a_caption_gets_the_size() -> None:
    """An output without a caption is labelled by its size, and no outputs are no error."""
    assert "answer 2x1" in shown(answer_row(TASK.queries[0], [((1,), (2,))]))
    assert "→" not in shown(answer_row(TASK.queries[0], []))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(30, 200))
def test_no_cell_is_lost_at_any_size_or_width(height: int, side: int, width: int) -> None:
    """Whatever the grid and the terminal, every cell is drawn."""
    grid: Grid = ((7,) * side,) * height
    text = shown(example_row(Example(grid, grid), name="x"), width=width)
    assert text.replace(f"{height}x{side}", "").count("7") == 2 * height * side


def test_a_long_line_is_folded() -> None:
    """A one-row grid longer than the terminal continues on the next line."""
    line: Grid = (tuple(i % 10 for i in range(200)),)
    text = shown(query_row(line), width=80)
    assert "".join(digits(text)[1:]) == "0123456789" * 20
