"""Views: invertible transformations of a whole grid task.

A `GridView` renames colours, applies one of the eight symmetries of the square to every grid, and
reorders the demonstrations. The answer to a viewed task, inverted, is an answer to the task. The
module draws views; what a strategy does with them is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from autottt.types import COLOURS, Example, Grid, Task

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
        shown = tuple(self._apply_example(e) for e in task.demonstrations)
        if self.order is not None:
            shown = tuple(shown[i] for i in self.order)
        return self._with(task, shown, self.apply_grid)

    def invert(self, task: Task) -> Task:
        """The task of which `task` is the view: `invert(apply(t)) == t`."""
        shown = [
            Example(self.invert_grid(e.input), self.invert_grid(e.output))
            for e in task.demonstrations
        ]
        if self.order is not None:
            shown = [shown[self.order.index(i)] for i in range(len(shown))]
        return self._with(task, tuple(shown), self.invert_grid)

    def _apply_example(self, example: Example) -> Example:
        return Example(self.apply_grid(example.input), self.apply_grid(example.output))

    @staticmethod
    def _with(task: Task, shown: tuple[Example, ...], change: Callable[[Grid], Grid]) -> Task:
        return replace(
            task,
            demonstrations=shown,
            queries=tuple(change(q) for q in task.queries),
            targets=None if task.targets is None else tuple(change(t) for t in task.targets),
        )

    @staticmethod
    def _recolour(grid: Grid, colours: tuple[int, ...]) -> Grid:
        if colours == IDENTITY_COLOURS:
            return grid
        return tuple(tuple(colours[c] for c in row) for row in grid)


def is_line(task: Task) -> bool:
    """Whether every grid of the task has one row."""
    grids = [g for e in task.demonstrations for g in (e.input, e.output)]
    return all(len(g) == 1 for g in [*grids, *task.queries])


def draw_views(
    task: Task, n: int, rng: np.random.Generator, *, keep_background: bool = True
) -> list[GridView]:
    """`n` views, the identity first, covering the symmetries before any is repeated.

    Line tasks use the identity and the left-right flip only. `keep_background` fixes colour 0.
    """
    names = LINE_SYMMETRIES if is_line(task) else tuple(SYMMETRIES)
    views = [GridView()]
    pool: list[str] = []
    while len(views) < n:
        if not pool:
            pool = [names[i] for i in rng.permutation(len(names))]
            if len(views) < len(names):
                pool = [name for name in pool if name != "identity"]
        order = tuple(int(i) for i in rng.permutation(len(task.demonstrations)))
        views.append(GridView(pool.pop(), _draw_colours(rng, keep_background), order))
    return views[:n]


def _draw_colours(rng: np.random.Generator, keep_background: bool) -> tuple[int, ...]:
    if keep_background:
        return (0, *(int(c) for c in 1 + rng.permutation(COLOURS - 1)))
    return tuple(int(c) for c in rng.permutation(COLOURS))
