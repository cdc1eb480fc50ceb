"""Tasks in a terminal, grids as coloured blocks, made with rich.

Pure functions from grids and tasks to rich renderables: nothing is printed here and no terminal
is needed. Every cell also carries its digit, so that a grid can be read where colours are off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from autottt.adapters.tasks.printable import printable_lines
from autottt.adapters.tasks.prompts import value_to_text
from autottt.types import Example, Grid, Task, Value, domain_of

# digit on background, the palette in which ARC is usually drawn
PALETTE = (
    ("#777777", "#111111"),
    ("#ffffff", "#0074d9"),
    ("#ffffff", "#e5342a"),
    ("#000000", "#2ecc40"),
    ("#000000", "#ffdc00"),
    ("#000000", "#aaaaaa"),
    ("#ffffff", "#d010a5"),
    ("#000000", "#ff851b"),
    ("#000000", "#7fdbff"),
    ("#ffffff", "#870c25"),
)
STYLES = tuple(Style(color=digit, bgcolor=block) for digit, block in PALETTE)
CELL_WIDTHS = (2, 1)  # columns a cell may take, the one that looks square first
GAP = 3
ARROW = "→"


def value_block(value: Value, *, cell_width: int = 2) -> Text:
    """An input or output: a grid as blocks, anything else as text."""
    if domain_of(value) == "grid":
        return grid_block(cast("Grid", value), cell_width=cell_width)
    return Text(printable_lines(value_to_text(value).removesuffix("\n")), overflow="fold")


def grid_block(grid: Grid, *, cell_width: int = 2) -> Text:
    """A grid as H lines of W cells, each `cell_width` columns wide."""
    block = Text(overflow="fold")
    for i, row in enumerate(grid):
        if i:
            block.append("\n")
        for colour in row:
            block.append(str(colour).ljust(cell_width), STYLES[colour])
    return block


@dataclass(frozen=True)
class ValueRow:
    """Captioned values joined by arrows: side by side where they fit, else one below another."""

    values: tuple[tuple[str, Value], ...]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for cell_width in CELL_WIDTHS:
            if self._width(cell_width) <= options.max_width:
                yield self._side_by_side(cell_width)
                return
        yield self._stacked(options.max_width)

    def _width(self, cell_width: int) -> int:
        widths = [max(len(caption), _columns(value, cell_width)) for caption, value in self.values]
        return sum(widths) + (2 * GAP + len(ARROW)) * (len(widths) - 1)

    def _side_by_side(self, cell_width: int) -> RenderableType:
        table = Table.grid(padding=(0, GAP))
        cells: list[RenderableType] = []
        for caption, value in self.values:
            if cells:
                table.add_column(vertical="middle")
                cells.append(Text(f"\n{ARROW}"))
            table.add_column(no_wrap=True)
            cells.append(_captioned(caption, value_block(value, cell_width=cell_width)))
        table.add_row(*cells)
        return table

    def _stacked(self, available: int) -> RenderableType:
        blocks = []
        for caption, value in self.values:
            width = 2 if _columns(value, 2) <= available else 1
            blocks.append(_captioned(caption, value_block(value, cell_width=width)))
        return Group(*blocks)


def _captioned(caption: str, block: Text) -> RenderableType:
    return Group(Text(caption, style="dim"), block)


def _columns(value: Value, cell_width: int) -> int:
    if domain_of(value) == "grid":
        return len(cast("Grid", value)[0]) * cell_width
    return max(map(len, value_to_text(value).split("\n")))


def _size(value: Value) -> str:
    if domain_of(value) != "grid":
        return ""
    return f"{len(value)}x{len(cast('Grid', value)[0])}"


def example_row(example: Example, *, name: str = "demonstration") -> RenderableType:
    """One demonstration: input, arrow, output."""
    return ValueRow(
        (
            (f"{name} {_size(example.input)}".strip(), example.input),
            (_size(example.output), example.output),
        )
    )


def demonstrations(task: Task) -> RenderableType:
    """All demonstrations of a task, numbered, one below another."""
    rows = [example_row(e, name=str(i)) for i, e in enumerate(task.demonstrations, start=1)]
    return Group(*(Padding(row, (0, 0, 1, 0)) for row in rows))


def query_row(query: Value, *, name: str = "query") -> RenderableType:
    """One query, without an answer."""
    return ValueRow(((f"{name} {_size(query)}".strip(), query),))


def answer_row(
    query: Value, outputs: Sequence[Value], *, captions: Sequence[str] = (), name: str = "query"
) -> RenderableType:
    """One query and the outputs proposed for it, best first, with a caption each if given."""
    shown = [(f"{name} {_size(query)}".strip(), query)]
    for i, output in enumerate(outputs):
        caption = captions[i] if i < len(captions) else f"answer {_size(output)}".strip()
        shown.append((caption, output))
    return ValueRow(tuple(shown))
