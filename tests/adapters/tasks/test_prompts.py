"""Tasks as prompts, and completions as values."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.models.fake import FakeModel
from autottt.adapters.tasks.formats import Plain, written
from autottt.adapters.tasks.prompts import STOP, completion, prompt, prompt_parts, text_to_value
from autottt.errors import TaskError
from autottt.strategies.encoding import reply_tokens
from autottt.strategies.proposals import answer_limit
from autottt.types import AnswerFormat, Example, Grid, Task, Value

WORDS = Task.from_examples([("b a", "a b")], "d c")
GRIDS = Task.from_examples([([[1]], [[2]])], [[3]])


@given(
    st.one_of(
        st.text(st.characters(exclude_characters="\0", codec="utf-8"))
        .map(lambda text: " ".join(text.split()))
        .filter(bool),
        st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda row: (tuple(row),)),
    )
)
def test_completion_ends_with_the_stop_and_nowhere_else(value: Value) -> None:
    """The stop text ends an answer, does not occur inside one, and the value comes back."""
    text = completion(value)
    assert text.index(STOP) == len(text) - len(STOP)
    task = WORDS if isinstance(value, str) else GRIDS
    assert text_to_value(text.removesuffix(STOP), task) == value


@pytest.mark.parametrize("text", ["", "\n", "a\n\nb", "\na"])
def test_a_text_that_would_end_its_answer_early_is_refused(text: str) -> None:
    """Empty texts and empty lines raise `TaskError`, as does a task of grids and texts."""
    with pytest.raises(TaskError):
        Task.from_examples([("a", text)], "b")
    with pytest.raises(TaskError, match="all are"):
        Task.from_examples([([[1]], "a")], "b")


@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(st.tuples(*[st.integers(0, 9)] * width), min_size=1, max_size=6).map(
            tuple
        )
    )
)
def test_a_grid_is_read_as_any_format_writes_it(grid: Grid) -> None:
    """With spaces between cells, for tokenizers that merge digits, and one before the end."""
    for spaced in (False, True):
        for end in ("", "\n\n", " "):
            assert text_to_value(written(grid, spaced=spaced) + end, GRIDS) == grid


def test_a_text_task_is_asked_like_a_grid_task() -> None:
    """The same marks part inputs from outputs in both domains."""
    assert prompt(WORDS.demonstrations, WORDS.queries[0]) == "b a\n>a b\n\nd c\n>"


def test_a_prompt_is_its_parts() -> None:
    """A prompt reads demonstration by demonstration and marks the outputs."""
    examples = [Example(((1, 2),), ((2, 1),)), Example(((3,), (4,)), ((4,), (3,)))]
    query = ((5,),)
    assert prompt(examples, query) == "12\n>21\n\n3\n4\n>4\n3\n\n5\n>"
    parts = prompt_parts(examples, query)
    assert [text for text, is_output in parts if is_output] == ["21\n\n", "4\n3\n\n"]


@pytest.mark.parametrize(
    ("shown", "text", "expected"),
    [
        ([(["a", "b"], [2, 1])], "2 1", (2, 1)),
        ([([2, 1], ["a", "b"])], "2 1", ("2", "1")),
        ([([1], []), ([2], [])], "2", (2,)),
        ([(["a"], [])], "2", ("2",)),
    ],
)
def test_items_are_of_the_type_of_the_outputs(
    shown: list[tuple[list[int | str], list[int | str]]], text: str, expected: Value
) -> None:
    """Inputs of symbols make no symbols of numbers, unless no output has an item."""
    task = Task.from_examples(shown, shown[0][0])
    assert text_to_value(text, task) == expected


@pytest.mark.parametrize(
    ("shown", "text", "expected"),
    [
        ([([[1]], [[2]])], "<think>\n\n</think>\n\n65", ((6, 5),)),
        ([(["a"], ["b"])], "so</think>\n\nd c", ("d", "c")),
    ],
)
def test_what_a_model_thinks_first_is_no_part_of_its_answer(
    shown: list[tuple[Any, Any]], text: str, expected: Value
) -> None:
    """In grids and sequences as in texts."""
    task = Task.from_examples(shown, shown[0][0])
    assert text_to_value(text, task) == expected


@pytest.mark.parametrize(
    ("form", "outputs"),
    [
        (AnswerFormat("choice", ("greeting", "question")), ("greeting", "question")),
        (AnswerFormat("number"), ("12", "7")),
    ],
)
def test_a_long_question_has_no_longer_choice(form: AnswerFormat, outputs: tuple[str, str]) -> None:
    """A short demonstration with a long output says nothing of the answer to a long question."""
    shown = [("Hi", outputs[0]), ("When do you open?", outputs[1])]
    task = Task.from_examples(shown, "word " * 100, answer=form)
    model = FakeModel(lambda grid: grid, lambda grid: grid)
    assert 8 <= answer_limit(task, 0, model) < 25


def test_digits_that_merge_do_not_cut_an_answer_short() -> None:
    """The limit counts cells as answers are written, with spaces, in inputs as in outputs."""

    class Merging(FakeModel):
        """Three digits in a row are one token, and grids are written with spaces."""

        format = Plain(spaced=True)

        def encode(self, text: str, **given: bool) -> list[int]:
            return [len(word) for word in re.findall(r"\d{1,3}| |\n|[^\d \n]", text)]

    square = [[1] * 5] * 5
    task = Task.from_examples([(square, square)], [[2] * 10] * 10)
    model = Merging(lambda grid: grid, lambda grid: grid)
    assert answer_limit(task, 0, model) >= len(reply_tokens(task, task.queries[0], model))


def test_an_input_without_tokens_limits_no_answer() -> None:
    """A tokenizer may know none of its characters; the answer's length is then judged by one."""

    class Letters(FakeModel):
        def encode(self, text: str, **given: bool) -> list[int]:
            return super().encode("".join(filter(str.isalpha, text)), **given)

    task = Task.from_examples([("?!", "a b"), ("c d", "d c")], "e f g")
    assert answer_limit(task, 0, Letters(lambda grid: grid, lambda grid: grid)) >= 6


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_beyond_64_bits_is_refused(number: int) -> None:
    """In a task it is an error, and in a completion no answer, as no trace could keep it."""
    said = f"has at most 64 bits, not {number}; give"
    with pytest.raises(TaskError, match=said):
        Task.from_examples([([1], [number])], [2])
    task = Task.from_examples([([2**63 - 1], [-(2**63)])], [2])
    with pytest.raises(TaskError, match=said):
        text_to_value(f"1 {number}", task)
    assert text_to_value(f"{2**63 - 1} {-(2**63)}", task) == (2**63 - 1, -(2**63))


def test_a_number_that_cannot_even_be_written_is_refused() -> None:
    """Python does not write it, and the message does without."""
    with pytest.raises(TaskError, match="not a number of thousands of digits"):
        Task.from_examples([([1], [10**5000])], [2])
