"""Views: invertible transformations of a whole task.

A `GridView` renames colours, applies one of the eight symmetries of the square to every grid, and
reorders the demonstrations. A `TextView` reorders them too, and the options of questions that list
some, marks those by other symbols, and puts the instruction in other words. A `SequenceView`
reorders them and renames symbols; numbers mean something and stay, as symbols of digits do. The
answer to a viewed task, inverted, is an answer to the task. The module draws views; what a strategy
does with them is its own affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from autottt.adapters.tasks.options import LETTERS, SYMBOLS, Options, find_options, option_marks
from autottt.errors import TaskError
from autottt.types import (
    COLOURS,
    MAX_SIDE,
    NUMERAL,
    Example,
    Grid,
    Items,
    Task,
    Value,
    domain_of,
)

IDENTITY_COLOURS = tuple(range(COLOURS))
WORDINGS = (  # of an instruction
    "{}",
    "Task: {}",
    "{} Answer in the same form as the examples.",
    "Follow this instruction. {}",
    "Instruction: {}",
)
_MARK = re.compile(r"\(\w{1,2}\)")


def _flip_rows(g: Grid) -> Grid:
    return g[::-1]


def _flip_columns(g: Grid) -> Grid:
    return tuple(row[::-1] for row in g)


def _transpose(g: Grid) -> Grid:
    return tuple(zip(*g, strict=True))


# name -> (steps that apply it); the inverse is the steps in reverse, each being its own inverse
SYMMETRIES: dict[str, tuple[Callable[[Grid], Grid], ...]] = {
    "identity": (),
    "flip-columns": (_flip_columns,),
    "flip-rows": (_flip_rows,),
    "rotate-180": (_flip_columns, _flip_rows),
    "transpose": (_transpose,),
    "rotate-90": (_transpose, _flip_columns),
    "rotate-270": (_transpose, _flip_rows),
    "anti-transpose": (_transpose, _flip_columns, _flip_rows),
}
LINE_SYMMETRIES = ("identity", "flip-columns")
UPRIGHT = ("identity", "flip-columns", "flip-rows", "rotate-180")  # rows stay rows


@dataclass(frozen=True)
class GridView:
    """A symmetry, a colour permutation and an order of the demonstrations.

    `colours[c]` is the new colour of c; `order[i]` is the old place of the i-th demonstration
    (None keeps the order).
    """

    symmetry: str = "identity"
    colours: tuple[int, ...] = IDENTITY_COLOURS
    order: tuple[int, ...] | None = None

    def apply_grid(self, grid: Grid) -> Grid:
        for step in SYMMETRIES[self.symmetry]:
            grid = step(grid)
        return self._recolour(grid, self.colours)

    def invert_grid(self, grid: Grid) -> Grid:
        inverse = [0] * COLOURS
        for old, new in enumerate(self.colours):
            inverse[new] = old
        grid = self._recolour(grid, tuple(inverse))
        for step in reversed(SYMMETRIES[self.symmetry]):
            grid = step(grid)
        return grid

    def apply(self, task: Task) -> Task:
        """The same task seen through the view."""
        return _changed(_reordered(task, self.order), self.apply_input, self.apply_output)

    def invert(self, task: Task) -> Task:
        """The task of which `task` is the view: `invert(apply(t)) == t`."""
        return _changed(_reordered(task, _inverse(self.order)), self._invert, self._invert_seen)

    def apply_output(self, output: Value, asked: Value) -> Grid:
        """What an output for the task's input `asked` is in the view."""
        return self.apply_input(output)

    def invert_output(self, output: Value, asked: Value) -> Grid:
        """The output for the task's input `asked`, from one for its view."""
        return self._invert(output)

    def _invert_seen(self, output: Value, seen: Value) -> Grid:
        return self._invert(output)

    def apply_input(self, value: Value) -> Grid:
        """An input as it is in the view."""
        return self.apply_grid(_grid(value))

    def _invert(self, value: Value) -> Grid:
        return self.invert_grid(_grid(value))

    @staticmethod
    def _recolour(grid: Grid, colours: tuple[int, ...]) -> Grid:
        if colours == IDENTITY_COLOURS:
            return grid
        table = bytes(colours).ljust(256)
        return tuple(tuple(bytes(row).translate(table)) for row in grid)


@dataclass(frozen=True)
class TextView:
    """An order of the demonstrations, an order and the symbols of options, and an instruction.

    `order[i]` is the old place of the i-th demonstration (None keeps the order). `options` orders
    letters: a question of n options takes the first n of them in this order. `symbols` and
    `wording` are places in `SYMBOLS` and `WORDINGS`.
    """

    order: tuple[int, ...] | None = None
    options: tuple[int, ...] | None = None
    symbols: int = 0
    wording: int = 0

    def apply(self, task: Task) -> Task:
        """The same task seen through the view."""
        if task.instruction:
            said = WORDINGS[self.wording].format(task.instruction)
            task = replace(task, instruction=said)
        return _changed(_reordered(task, self.order), self.apply_input, self.apply_output)

    def invert(self, task: Task) -> Task:
        """The task of which `task` is the view: `invert(apply(t)) == t`."""
        if task.instruction:
            before, after = WORDINGS[self.wording].split("{}")
            said = task.instruction.removeprefix(before).removesuffix(after)
            task = replace(task, instruction=said)
        return _changed(_reordered(task, _inverse(self.order)), self._invert, self._invert_seen)

    def apply_output(self, output: Value, asked: Value) -> Value:
        """What an output for the task's input `asked` is in the view."""
        found = find_options(str(asked))
        marks = () if found is None else option_marks(len(found.bodies))
        if found is None or output not in marks:
            return output
        order = self._order(found)
        return option_marks(len(order), self._symbols(found))[order.index(marks.index(str(output)))]

    def invert_output(self, output: Value, asked: Value) -> Value:
        """The output for the task's input `asked`, from one for its view.

        Raises `TaskError` for a mark in brackets that none of its options has.
        """
        found = find_options(str(asked))
        if found is None or not _MARK.fullmatch(str(output)):
            return output
        order = self._order(found)
        marks = option_marks(len(order), self._symbols(found))
        if output not in marks:
            raise TaskError(f"{output} is none of the options {' '.join(marks)}")
        return option_marks(len(order))[order[marks.index(str(output))]]

    def apply_input(self, value: Value) -> Value:
        """An input as it is in the view."""
        found = find_options(str(value))
        if found is None:
            return value
        return found.ordered(self._order(found)).text(self._symbols(found))

    def _invert(self, value: Value) -> Value:
        found = find_options(str(value), SYMBOLS[self.symbols]) or find_options(str(value))
        if found is None:
            return value
        order = self._order(found)
        return found.ordered([order.index(i) for i in range(len(order))]).text()

    def _invert_seen(self, output: Value, seen: Value) -> Value:
        return self.invert_output(output, self._invert(seen))

    def _symbols(self, found: Options) -> Sequence[str]:
        """Of options that speak of each other the letters by which they do."""
        return SYMBOLS[self.symbols if found.movable else 0]

    def _order(self, found: Options) -> list[int]:
        """The old place of each option in the view."""
        places = range(len(found.bodies))
        if self.options is None or not found.movable:
            return list(places)
        return [i for i in self.options if i in places]


@dataclass(frozen=True)
class SequenceView:
    """An order of the demonstrations, and new names for symbols, as `(old, new)` pairs."""

    order: tuple[int, ...] | None = None
    names: tuple[tuple[str, str], ...] = ()

    def apply(self, task: Task) -> Task:
        """The same task seen through the view."""
        return _changed(_reordered(task, self.order), self.apply_input, self.apply_output)

    def invert(self, task: Task) -> Task:
        """The task of which `task` is the view: `invert(apply(t)) == t`."""
        seen = _reordered(task, _inverse(self.order))
        return _changed(seen, self._invert, self.invert_output)

    def apply_output(self, output: Value, asked: Value) -> Value:
        """What an output for the task's input `asked` is in the view."""
        return self.apply_input(output)

    def invert_output(self, output: Value, asked: Value) -> Value:
        """The output for the task's input `asked`, from one for its view."""
        return self._invert(output)

    def apply_input(self, value: Value) -> Items:
        """An input as it is in the view."""
        return _renamed(value, dict(self.names))

    def _invert(self, value: Value) -> Items:
        return _renamed(value, {new: old for old, new in self.names})


View = GridView | TextView | SequenceView


def _grid(value: Value) -> Grid:
    assert domain_of(value) == "grid", "a GridView is drawn for tasks of the domain grid alone"
    return cast("Grid", value)


def _items(value: Value) -> Items:
    assert domain_of(value) == "sequence", "a SequenceView is drawn for sequences alone"
    return cast("Items", value)


def _reordered(task: Task, order: tuple[int, ...] | None) -> Task:
    if order is None:
        return task
    return replace(task, demonstrations=tuple(task.demonstrations[i] for i in order))


def _inverse(order: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if order is None else tuple(order.index(i) for i in range(len(order)))


def _renamed(value: Value, names: dict[str, str]) -> Items:
    return tuple(names.get(item, item) if isinstance(item, str) else item for item in _items(value))


def _changed(
    task: Task, change: Callable[[Value], Value], change_output: Callable[[Value, Value], Value]
) -> Task:
    """`change_output` is given the input that the output is for, as it is in `task`."""
    targets = None
    if task.targets is not None:
        pairs = zip(task.targets, task.queries, strict=True)
        targets = tuple(change_output(t, q) for t, q in pairs)
    return replace(
        task,
        demonstrations=tuple(
            Example(change(e.input), change_output(e.output, e.input)) for e in task.demonstrations
        ),
        queries=tuple(change(q) for q in task.queries),
        targets=targets,
    )


def is_line(task: Task) -> bool:
    """Whether the task is one of grids, and every one of them has one row."""
    return task.domain == "grid" and all(len(v) == 1 for v in _shown(task))


def _shown(task: Task) -> list[Value]:
    values = [v for e in task.demonstrations for v in (e.input, e.output)]
    return [*values, *task.queries]


def _symmetries(task: Task) -> tuple[str, ...]:
    """Those of a line, those of a row that is too long for a column, or all."""
    if is_line(task):
        return LINE_SYMMETRIES
    long = any(len(_grid(v)[0]) > MAX_SIDE for v in _shown(task))
    return UPRIGHT if long else tuple(SYMMETRIES)


def draw_views(task: Task, n: int, rng: np.random.Generator) -> list[View]:
    """`n` views, the identity first, covering the symmetries before any is repeated.

    Line tasks use the identity and the left-right flip only, and rows that are longer than a column
    may be stay rows. Colour 0, the background, stays.
    """
    if task.domain == "text":
        return [TextView(), *(_draw_text(task, place, rng) for place in range(1, n))]
    if task.domain == "sequence":
        return [SequenceView(), *(_draw_sequence(task, rng) for _ in range(1, n))]
    names = _symmetries(task)
    views: list[View] = [GridView()]
    pool: list[str] = []
    while len(views) < n:
        if not pool:
            pool = [names[i] for i in rng.permutation(len(names))]
            if len(views) < len(names):
                pool = [name for name in pool if name != "identity"]
        order = _draw_order(len(task.demonstrations), rng)
        views.append(GridView(pool.pop(), _draw_colours(rng), order))
    return views[:n]


def draw_view(task: Task, rng: np.random.Generator) -> View:
    """A view drawn from all there are: any symmetry, the identity too, is as likely as another.

    Rows to train on are of these, so that what is asked for is among what was trained on.
    """
    if task.domain == "text":
        return _draw_text(task, int(rng.integers(len(WORDINGS))), rng)
    if task.domain == "sequence":
        return _draw_sequence(task, rng)
    names = _symmetries(task)
    order = _draw_order(len(task.demonstrations), rng)
    return GridView(names[int(rng.integers(len(names)))], _draw_colours(rng), order)


def keep_colours(view: View) -> View:
    """The view without what only demonstrations explain: colours, names and orders as they are."""
    match view:
        case GridView():
            return GridView(view.symmetry)
        case TextView():
            return replace(view, order=None)
        case SequenceView():
            return SequenceView()


def _draw_text(task: Task, place: int, rng: np.random.Generator) -> TextView:
    order = _draw_order(len(task.demonstrations), rng)
    options, symbols = None, 0
    if task.answer.kind == "choice" and not task.answer.choices:
        options = _draw_order(len(LETTERS), rng)
        symbols = int(rng.integers(len(SYMBOLS)))
    return TextView(order, options, symbols, place % len(WORDINGS) if task.instruction else 0)


def _draw_sequence(task: Task, rng: np.random.Generator) -> SequenceView:
    order = _draw_order(len(task.demonstrations), rng)
    items = {item for v in _shown(task) for item in _items(v) if isinstance(item, str)}
    symbols = sorted(item for item in items if not NUMERAL.fullmatch(item))
    new = [symbols[i] for i in _draw_order(len(symbols), rng)]
    return SequenceView(order, tuple(zip(symbols, new)))


def _draw_order(n: int, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(i) for i in rng.permutation(n))


def _draw_colours(rng: np.random.Generator) -> tuple[int, ...]:
    return (0, *(int(c) for c in 1 + rng.permutation(COLOURS - 1)))
