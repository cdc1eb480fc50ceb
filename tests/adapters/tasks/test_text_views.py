"""Views of tasks in words and of sequences: every one can be undone and keeps the meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.tasks.options import SYMBOLS, find_options, option_marks, with_options
from autottt.adapters.tasks.views import SequenceView, TextView, draw_views
from autottt.errors import TaskError
from autottt.types import AnswerFormat, Example, Items, Task, Value, as_items

BODIES = st.lists(st.text("abc XYZ(),.", min_size=1).map(str.strip), min_size=2, max_size=26)
CHOICE = AnswerFormat("choice")


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, str]:
    """A question with its options, and the mark of one of them."""
    bodies = draw(BODIES.filter(lambda b: len(set(b)) == len(b) and all(b)))
    stem = draw(st.text("which one is it?\n", min_size=1).map(str.strip).filter(bool))
    text = with_options(stem, bodies)
    found = find_options(text)
    assert found is not None
    return text, draw(st.sampled_from(option_marks(len(found.bodies))))


def body_at(text: str, mark: str, symbols: int = 0) -> str:
    found = find_options(text, SYMBOLS[symbols])
    assert found is not None
    return found.bodies[option_marks(len(found.bodies), SYMBOLS[symbols]).index(mark)]


@given(shown=st.lists(questions(), min_size=1, max_size=4), asked=questions(), seed=st.integers(0))
def test_an_option_keeps_its_words_under_every_view(
    shown: list[tuple[str, str]], asked: tuple[str, str], seed: int
) -> None:
    """An answer names the same words in every view, and comes back; so does the whole task."""
    task = Task(
        "t",
        tuple(Example(x, y) for x, y in shown),
        (asked[0],),
        (asked[1],),
        "text",
        "Choose well.",
        CHOICE,
    )
    for view in draw_views(task, 8, np.random.default_rng(seed)):
        assert isinstance(view, TextView)
        seen = view.apply(task)
        assert "Choose well." in seen.instruction
        assert view.invert(seen) == task
        mark = view.apply_output(asked[1], asked[0])
        assert seen.targets == (mark,)
        found = find_options(asked[0])
        symbols = view.symbols if found is not None and found.movable else 0
        assert body_at(str(seen.queries[0]), str(mark), symbols) == body_at(*asked)
        assert view.invert_output(mark, asked[0]) == asked[1]


def test_options_that_speak_of_each_other_keep_their_order() -> None:
    """Nothing is moved where an option says "both" or names a letter."""
    text = with_options("Which?", ["red", "blue", "both of them"])
    view = TextView(options=tuple(reversed(range(26))))
    assert view.apply_input(text) == text
    moved = with_options("Which?", ["red", "blue", "green"])
    assert str(view.apply_input(moved)).index("green") < str(view.apply_input(moved)).index("red")


def test_options_that_name_others_keep_their_letters() -> None:
    """Else "both (A) and (B)" would name what is not there."""
    text = "What?\nOptions:\n(A) red\n(B) blue\n(C) both (A) and (B)"
    for symbols in range(len(SYMBOLS)):
        view = TextView(options=(2, 0, 1), symbols=symbols)
        assert view.apply_input(text) == text
        assert view.apply_output("(C)", text) == "(C)"
        assert view.invert_output("(C)", text) == "(C)"


def test_an_option_that_is_not_there_is_refused() -> None:
    """A mark outside the query's options, under the view's symbols, is no answer."""
    text = with_options("Which?", ["red", "blue"])
    with pytest.raises(TaskError, match=r"\(3\) is none of the options \(1\) \(2\)"):
        TextView(symbols=1).invert_output("(3)", text)


@pytest.mark.parametrize(
    ("bodies", "said"), [(["a", "a"], "twice"), (["a"], "2 to 26"), (["x"] * 27, "2 to 26")]
)
def test_options_that_cannot_be_are_refused(bodies: list[str], said: str) -> None:
    """Options that repeat, are too few or too many raise `TaskError`."""
    with pytest.raises(TaskError, match=said):
        with_options("Which?", bodies)


NAMES = ("a", "b", "c", "d", "7", "-12")
ITEMS = st.one_of(
    st.lists(st.integers(-99, 99), max_size=6), st.lists(st.sampled_from(NAMES), max_size=6)
)


def _numbers(items: Value) -> list[object]:
    return [i for i in items if not isinstance(i, str) or i.lstrip("-").isdigit()]


@given(first=ITEMS, seed=st.integers(0, 99), data=st.data())
def test_views_of_a_sequence_rename_symbols_and_no_numbers(
    first: list[int] | list[str], seed: int, data: st.DataObject
) -> None:
    """Every view can be undone, keeps numbers and their digits, and renames symbols one to one."""
    kind = st.sampled_from(NAMES) if first and isinstance(first[0], str) else st.integers(-9, 9)
    some = st.lists(kind, max_size=5).map(tuple)
    shown = tuple(
        Example(as_items(data.draw(some)), as_items(data.draw(some)))  # type: ignore[arg-type]
        for _ in range(3)
    )
    query: Items = tuple(first)
    task = Task("t", shown, (query,), (query,), "sequence")
    for view in draw_views(task, 4, np.random.default_rng(seed)):
        assert isinstance(view, SequenceView)
        seen = view.apply(task)
        assert view.invert(seen) == task
        assert seen.targets == seen.queries
        assert view.invert_output(view.apply_output(query, query), query) == query
        assert _numbers(seen.queries[0]) == _numbers(query)
        assert len(set(seen.queries[0])) == len(set(query))
