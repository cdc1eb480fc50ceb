"""Conversations become tasks, and answers are written as the query was."""

from __future__ import annotations

import pytest

from autottt.errors import TaskError
from autottt.server.conversation import read_turns, read_values

PAIR = [("user", "[[1, 2]]"), ("assistant", "[[2, 1]]")]


def test_earlier_turns_are_demonstrations() -> None:
    """Pairs of user and assistant are demonstrations, and the last user turn is the query."""
    reading = read_turns([*PAIR, ("user", "[[3, 4]]")])
    (example,) = reading.task.demonstrations
    assert (example.input, example.output) == (((1, 2),), ((2, 1),))
    assert reading.task.queries == (((3, 4),),)
    assert reading.write(((4, 3),)) == "[[4, 3]]"


def test_rows_of_digits_with_several_rows_are_grids() -> None:
    """Digits in rows are read as grids, and the answer is written in rows again."""
    reading = read_values([("12\n34", "34\n12")], "56\n78")
    assert reading.task.domain == "grid"
    assert reading.write(((7, 8), (5, 6))) == "78\n56"


def test_one_row_of_digits_is_a_text_unless_said_otherwise() -> None:
    """A number is no grid of one row, except where the domain is given."""
    assert read_values([("12", "24")], "13").task.domain == "text"
    assert read_values([("12", "24")], "13", domain="grid").task.domain == "grid"


def test_words_are_texts() -> None:
    """A text task keeps its words, without newlines around them."""
    reading = read_values([("b a\n", "a b")], "d c")
    assert reading.task.demonstrations[0].input == "b a"
    assert reading.write("c d") == "c d"


@pytest.mark.parametrize("query", ["[ [1,0,2] ]", "[\n  [\n    1,\n    0,\n    2\n  ]\n]\n"])
def test_a_grid_as_json_may_be_written_in_any_way(query: str) -> None:
    """White space between brackets changes nothing, in a demonstration as in the query."""
    reading = read_values([(query, query)], query)
    assert (reading.task.domain, reading.task.queries) == ("grid", (((1, 0, 2),),))
    assert reading.write(((2, 0, 1),)) == "[[2, 0, 1]]"


@pytest.mark.parametrize("text", ["[[Page]]", "[[ -f x ]] && y", "[[]]", "[ [see 1] ]"])
def test_brackets_around_words_are_texts(text: str) -> None:
    """Links of a wiki and tests of a shell are no grids."""
    assert read_values([(text, text)], text).task.queries == (text,)


def test_a_text_that_begins_as_a_grid_needs_the_domain() -> None:
    """Without it the error says so."""
    with pytest.raises(TaskError, match="say domain 'text'"):
        read_values([("[[1]] it is", "a")], "b")
    assert read_values([("[[1]] it is", "a")], "b", domain="text").task.domain == "text"


def test_lines_may_end_as_on_windows() -> None:
    """Rows of digits are rows whatever ends them."""
    reading = read_values([("12\r\n34", "34\r\n12\r\n")], "56\r\n78\r\n")
    assert reading.task.queries == (((5, 6), (7, 8)),)
    assert read_values([("1\r\n2", "2\n1")], "3", domain="grid").task.domain == "grid"


@pytest.mark.parametrize(
    "turns",
    [
        [],
        PAIR,
        [("user", "[[1]]"), ("user", "[[1]]")],
        [("assistant", "[[1]]"), *PAIR],
        [*PAIR, ("user", "[[1]]"), ("system", "s")],
    ],
)
def test_turns_out_of_order_are_refused(turns: list[tuple[str, str]]) -> None:
    """Only pairs and then a query are a task."""
    with pytest.raises(TaskError):
        read_turns(turns)


@pytest.mark.parametrize(
    ("pairs", "query"),
    [
        ([], "[[1]]"),
        ([("[[1]]", "a")], "[[1]]"),
        ([("[[1]]", "[[1], [2, 3]]")], "[[1]]"),
        ([("[[1]]", "[[10]]")], "[[1]]"),
        ([("[[1]]", "[[1]]")], "[[" * 5000),
        ([("a", "")], "b"),
    ],
)
def test_values_that_are_no_task_are_refused(pairs: list[tuple[str, str]], query: str) -> None:
    """A value out of range, of another domain or empty is a typed error."""
    with pytest.raises(TaskError):
        read_values(pairs, query)


def test_demonstrations_come_from_one_place() -> None:
    """Earlier turns beside explicit demonstrations would be ambiguous."""
    with pytest.raises(TaskError, match="give one"):
        read_turns([*PAIR, ("user", "[[1]]")], [([[1]], [[2]])])


def test_an_instruction_is_the_tasks() -> None:
    """The system message says what to do, and reaches the task."""
    turns = [("system", " Reverse. "), ("user", "ab"), ("assistant", "ba"), ("user", "cd")]
    assert read_turns(turns).task.instruction == "Reverse."
