"""Views: every one can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.tasks.views import (
    LINE_SYMMETRIES,
    SYMMETRIES,
    GridView,
    TextView,
    draw_view,
    draw_views,
    is_line,
)
from autottt.types import COLOURS, MAX_SIDE, Example, Grid, Task


def _grid(cells: np.ndarray) -> Grid:
    return tuple(tuple(int(c) for c in row) for row in cells)


@st.composite
def grids(draw: st.DrawFn, *, line: bool = False) -> Grid:
    height = 1 if line else draw(st.integers(1, MAX_SIDE))
    width = draw(st.integers(1, MAX_SIDE))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return _grid(rng.integers(0, COLOURS, (height, width)))


@st.composite
def tasks(draw: st.DrawFn, *, line: bool = False) -> Task:
    grid = grids(line=line)
    shown = draw(st.lists(st.builds(Example, grid, grid), min_size=1, max_size=5))
    queries = draw(st.lists(grid, min_size=1, max_size=3))
    known = draw(st.booleans())
    return Task(
        id="drawn",
        demonstrations=tuple(shown),
        queries=tuple(queries),
        targets=tuple(draw(grid) for _ in queries) if known else None,
    )


@st.composite
def views_of(draw: st.DrawFn, task: Task) -> GridView:
    order = draw(st.none() | st.permutations(range(len(task.demonstrations))))
    return GridView(
        symmetry=draw(st.sampled_from(sorted(SYMMETRIES))),
        colours=tuple(draw(st.permutations(range(COLOURS)))),
        order=None if order is None else tuple(order),
    )


@given(st.data())
def test_inverting_a_viewed_task_gives_the_task(data: st.DataObject) -> None:
    """`invert(apply(task)) == task` and the other way round, for any view of any task."""
    task = data.draw(tasks())
    view = data.draw(views_of(task))
    assert view.invert(view.apply(task)) == task
    assert view.apply(view.invert(task)) == task


@pytest.mark.parametrize("symmetry", sorted(SYMMETRIES))
@given(grid=grids(), colours=st.permutations(range(COLOURS)))
def test_inverting_a_viewed_grid_gives_the_grid(
    symmetry: str, grid: Grid, colours: list[int]
) -> None:
    """Each of the eight symmetries is undone exactly, whatever the colours."""
    view = GridView(symmetry, tuple(colours))
    assert view.invert_grid(view.apply_grid(grid)) == grid


def test_the_symmetries_are_what_their_names_say() -> None:
    """Each symmetry agrees with numpy's, so that no two are the same."""
    cells = np.arange(6).reshape(2, 3)
    expected = {
        "identity": cells,
        "flip-columns": np.fliplr(cells),
        "flip-rows": np.flipud(cells),
        "rotate-180": np.rot90(cells, 2),
        "transpose": cells.T,
        "rotate-90": np.rot90(cells, -1),
        "rotate-270": np.rot90(cells, 1),
        "anti-transpose": np.rot90(cells, 2).T,
    }
    shown = {name: GridView(name).apply_grid(_grid(cells)) for name in SYMMETRIES}
    assert shown == {name: _grid(seen) for name, seen in expected.items()}
    assert len(set(shown.values())) == 8


@given(task=tasks(), n=st.integers(1, 24), seed=st.integers(0, 99))
def test_drawn_views_start_with_the_identity_and_differ(task: Task, n: int, seed: int) -> None:
    """`draw_views` gives n distinct views, the identity first, every symmetry before any twice."""
    views = draw_views(task, n, np.random.default_rng(seed))
    assert views[0] == GridView()
    assert len(views) == len(set(views)) == n
    names = LINE_SYMMETRIES if is_line(task) else tuple(SYMMETRIES)
    first = [view.symmetry for view in views[: len(names)] if isinstance(view, GridView)]
    assert len(set(first)) == len(first) == min(n, len(names))


@given(task=tasks(), seed=st.integers(0, 99))
def test_rows_to_train_on_show_every_symmetry(task: Task, seed: int) -> None:
    """The task as it is, too: what is asked for is among what was trained on."""
    rng = np.random.default_rng(seed)
    views = [draw_view(task, rng) for _ in range(120)]
    names = LINE_SYMMETRIES if is_line(task) else tuple(SYMMETRIES)
    assert {view.symmetry for view in views if isinstance(view, GridView)} == set(names)
    for view in views[:3]:
        assert view.invert(view.apply(task)) == task


@given(task=tasks(line=True), seed=st.integers(0, 99))
def test_views_of_a_line_task_keep_it_a_line_task(task: Task, seed: int) -> None:
    """A task of one-row grids is never turned on its side."""
    for view in draw_views(task, 8, np.random.default_rng(seed)):
        assert is_line(view.apply(task))


def test_a_row_longer_than_a_column_may_be_stays_a_row() -> None:
    """Turned, an answer of its length could not be read back."""
    pairs = [([[1] * 40], [[1] * 40]), ([[2] * 3, [2] * 3], [[2]])]
    task = Task.from_examples(pairs, [[3] * 40])
    rng = np.random.default_rng(0)
    views = [*draw_views(task, 8, rng), *(draw_view(task, rng) for _ in range(40))]
    names = {view.symmetry for view in views if isinstance(view, GridView)}
    assert names == {"identity", "flip-columns", "flip-rows", "rotate-180"}


def test_the_background_stays_and_other_colours_move() -> None:
    """Colour 0 is fixed in every view; no other is."""
    task = Task.from_examples([([[1]], [[2]])], [[3]])
    views = [v for v in draw_views(task, 20, np.random.default_rng(0)) if isinstance(v, GridView)]
    assert len(views) == 20
    assert {view.colours[0] for view in views} == {0}
    assert all(len({view.colours[c] for view in views}) > 1 for c in range(1, 10))


def test_the_same_seed_draws_the_same_views() -> None:
    """Views depend on the generator and nothing else."""
    task = Task.from_examples([([[1, 2]], [[2, 1]])] * 3, [[3, 4], [5, 6]])
    first, again = (draw_views(task, 12, np.random.default_rng(7)) for _ in range(2))
    assert first == again


@given(
    texts=st.lists(st.tuples(st.text("ab cd", min_size=1), st.text("xy", min_size=1)), min_size=1),
    n=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_views_of_a_text_task_reorder_it_alone(
    texts: list[tuple[str, str]], n: int, seed: int
) -> None:
    """Every text view keeps the texts and the query, and can be undone."""
    shown = tuple(Example(x, y) for x, y in texts)
    task = Task("t", shown, ("query",), ("target",), domain="text")
    views = draw_views(task, n, np.random.default_rng(seed))
    assert views[0] == TextView()
    assert len(views) == n
    for view in views:
        seen = view.apply(task)
        assert sorted(map(repr, seen.demonstrations)) == sorted(map(repr, task.demonstrations))
        assert (seen.queries, seen.targets) == (task.queries, task.targets)
        assert view.invert(seen) == task
        assert view.invert_output("answer", "question") == "answer"
