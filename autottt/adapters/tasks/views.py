"""Views: invertible transformations of a whole task.

A `GridView` renames colours, applies one of the eight symmetries of the square to every grid, and
reorders the demonstrations; a `TextView` only reorders them. The answer to a viewed task,
inverted, is an answer to the task. The module draws views; what a strategy does with them is its
own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from autottt.types import COLOURS, Example, Grid, Task, Value

IDENTITY_COLOURS = tuple(range(COLOURS))


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
        return _changed(_reordered(task, self.order), self.apply_value)

    def invert(self, task: Task) -> Task:
        """The task of which `task` is the view: `invert(apply(t)) == t`."""
        return _changed(_reordered(task, _inverse(self.order)), self.invert_value)

    def apply_value(self, value: Value) -> Grid:
        """An input or output as it is in the view."""
        return self.apply_grid(_grid(value))

    def invert_value(self, value: Value) -> Grid:
        """The output for the task, from an output for its view."""
        return self.invert_grid(_grid(value))

    @staticmethod
    def _recolour(grid: Grid, colours: tuple[int, ...]) -> Grid:
        if colours == IDENTITY_COLOURS:
            return grid
        return tuple(tuple(colours[c] for c in row) for row in grid)


@dataclass(frozen=True)
class TextView:
    """An order of the demonstrations; the texts stay as they are.

    `order[i]` is the old place of the i-th demonstration (None keeps the order).
    """

    order: tuple[int, ...] | None = None

    def apply(self, task: Task) -> Task:
        """The same task seen through the view."""
        return _reordered(task, self.order)

    def invert(self, task: Task) -> Task:
        """The task of which `task` is the view: `invert(apply(t)) == t`."""
        return _reordered(task, _inverse(self.order))

    def apply_value(self, value: Value) -> Value:
        """An input or output as it is in the view."""
        return value

    def invert_value(self, value: Value) -> Value:
        """The output for the task, from an output for its view."""
        return value


View = GridView | TextView


def _grid(value: Value) -> Grid:
    assert not isinstance(value, str), "a GridView is drawn for tasks of the domain grid alone"
    return value


def _reordered(task: Task, order: tuple[int, ...] | None) -> Task:
    if order is None:
        return task
    return replace(task, demonstrations=tuple(task.demonstrations[i] for i in order))


def _inverse(order: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if order is None else tuple(order.index(i) for i in range(len(order)))


def _changed(task: Task, change: Callable[[Value], Value]) -> Task:
    return replace(
        task,
        demonstrations=tuple(
            Example(change(e.input), change(e.output)) for e in task.demonstrations
        ),
        queries=tuple(change(q) for q in task.queries),
        targets=None if task.targets is None else tuple(change(t) for t in task.targets),
    )


def is_line(task: Task) -> bool:
    """Whether the task is one of grids, and every one of them has one row."""
    values = [v for e in task.demonstrations for v in (e.input, e.output)]
    return all(not isinstance(v, str) and len(v) == 1 for v in [*values, *task.queries])


def draw_views(
    task: Task, n: int, rng: np.random.Generator, *, keep_background: bool = True
) -> list[View]:
    """`n` views, the identity first, covering the symmetries before any is repeated.

    Line tasks use the identity and the left-right flip only, text tasks the orders of their
    demonstrations. `keep_background` fixes colour 0.
    """
    if task.domain == "text":
        orders = (rng.permutation(len(task.demonstrations)) for _ in range(n - 1))
        return [TextView(), *(TextView(tuple(int(i) for i in order)) for order in orders)]
    names = LINE_SYMMETRIES if is_line(task) else tuple(SYMMETRIES)
    views: list[View] = [GridView()]
    pool: list[str] = []
    while len(views) < n:
        if not pool:
            pool = [names[i] for i in rng.permutation(len(names))]
            if len(views) < len(names):
                pool = [name for name in pool if name != "identity"]
        order = tuple(int(i) for i in rng.permutation(len(task.demonstrations)))
        views.append(GridView(pool.pop(), _draw_colours(rng, keep_background), order))
    return views[:n]


def keep_colours(view: View) -> View:
    """The symmetry of a view alone: colours and order as they are."""
    return GridView(view.symmetry) if isinstance(view, GridView) else TextView()


def _draw_colours(rng: np.random.Generator, keep_background: bool) -> tuple[int, ...]:
    if keep_background:
        return (0, *(int(c) for c in 1 + rng.permutation(COLOURS - 1)))
    return tuple(int(c) for c in rng.permutation(COLOURS))
