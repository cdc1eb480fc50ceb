"""Reading answers out of what models write."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.tasks.answers import checked, choices_of, read_answer
from autottt.adapters.tasks.options import with_options
from autottt.adapters.tasks.prompts import text_to_value, value_to_text
from autottt.errors import TaskError
from autottt.types import AnswerFormat, Task

CHOICE = AnswerFormat("choice")
TRUTH = AnswerFormat("choice", ("True", "False"))
NUMBER = AnswerFormat("number")
ASKED = with_options("Which?", ["the red bus", "a train"])


@pytest.mark.parametrize(
    ("text", "form", "asked", "answer"),
    [
        ("  two \t words ", AnswerFormat(), "", "two words"),
        ("<think>\n\n</think>\n\nyes", AnswerFormat(), "", "yes"),
        ("<think>so (A)?</think>(B)", CHOICE, ASKED, "(B)"),
        ("12</think>\n\n42", NUMBER, "", "42"),
        ("12 or\n13</think> 14 </think> 42", NUMBER, "", "42"),
        ("(A)?</think><think>(A)</think>(B)", CHOICE, ASKED, "(B)"),
        ("(B)<think>(A)?</think> it is", CHOICE, ASKED, "(B)"),
        ("The answer is (B).", CHOICE, ASKED, "(B)"),
        ("B", CHOICE, ASKED, "(B)"),
        ("B) a train", CHOICE, ASKED, "(B)"),
        ("A\nas buses are red", CHOICE, ASKED, "(A)"),
        ("The red bus.", CHOICE, ASKED, "(A)"),
        ("false", TRUTH, "", "False"),
        ("It is False, not True", TRUTH, "", "False"),
        ("1,234.50", NUMBER, "", "1234.5"),
        ("= -07", NUMBER, "", "-7"),
        ("1e3 apples", NUMBER, "", "1000"),
        ("12,345,678 people", NUMBER, "", "12345678"),
        ("The answer is 5 of 7.", NUMBER, "", "5"),
        ("5, 6 or 7", NUMBER, "", "5"),
        ("1,5", NUMBER, "", "1"),
        ("\N{MINUS SIGN}5", NUMBER, "", "-5"),
        ("so \N{EN DASH}.5", NUMBER, "", "-0.5"),
        ("2\N{EN DASH}5", NUMBER, "", "2"),
        ("page\N{EN DASH}5", NUMBER, "", "5"),
    ],
)
def test_an_answer_comes_back_in_one_form(
    text: str, form: AnswerFormat, asked: str, answer: str
) -> None:
    """Whatever way a model says it, the same answer is the same text."""
    assert read_answer(text, form, asked) == answer


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("(C)", CHOICE, r"\(C\) is outside the options \(A\) \(B\)"),
        ("neither", CHOICE, "names no option"),
        ("A train it is", CHOICE, "names no option"),
        ("maybe", TRUTH, "none of True, False"),
        ("none", NUMBER, "no number"),
        ("", AnswerFormat(), "not empty"),
        ("abcdef", AnswerFormat(max_characters=3), "3 are allowed"),
    ],
)
def test_what_is_no_answer_is_refused(text: str, form: AnswerFormat, said: str) -> None:
    """Completions that say nothing usable raise `TaskError` with the text."""
    with pytest.raises(TaskError, match=said):
        read_answer(text, form, ASKED)


@pytest.mark.parametrize("marks", ["AB", "12", "ab"])
def test_an_option_may_be_named_by_its_words_under_any_marks(marks: str) -> None:
    """Views mark options by other symbols; the answer is the mark that stands there."""
    asked = f"Which?\nOptions:\n({marks[0]}) a rose\n({marks[1]}) a big dog"
    assert read_answer("a big dog", CHOICE, asked) == f"({marks[1]})"
    assert read_answer(f"({marks[0]})", CHOICE, asked) == f"({marks[0]})"
    with pytest.raises(TaskError, match="outside the options"):
        read_answer("(Z)", CHOICE, asked)


def test_a_list_by_marks_that_no_view_has_is_text() -> None:
    """Numbers that skip one are not options; what is in brackets is the answer."""
    asked = "Which?\nOptions:\n(1) x\n(3) y"
    assert read_answer("(3)", CHOICE, asked) == "(3)"


def test_a_choice_may_end_in_a_mark() -> None:
    """It is read as it is spelled, and without what stands around it."""
    form = AnswerFormat("choice", ("It is a cat.", "Yes!", "Yes"))
    for said, meant in (
        ("It is a cat.", "It is a cat."),
        ("it is a cat", "It is a cat."),
        ("Yes!", "Yes!"),
        ("yes", "Yes"),
    ):
        assert read_answer(said, form) == meant


@given(st.integers(-(10**60), 10**60), st.integers(0, 40))
def test_no_digit_of_a_number_is_lost(whole: int, places: int) -> None:
    """However many there are."""
    form, text = AnswerFormat("number"), f"{whole}.{'0' * places}"
    assert read_answer(str(whole), form) == str(whole)
    assert read_answer(text.rstrip("."), form) == str(whole)


@pytest.mark.parametrize(
    "text",
    ["1,5", "12,34", "1,2345", "1.234,50", "1 000", "1\N{NO-BREAK SPACE}000", "1'000", ",5", "1/2"],
)
def test_a_target_of_more_digits_than_its_number_is_refused(text: str) -> None:
    """Shown or wanted, with its place and how numbers are written; a completion is read on."""
    said = "is not one number; write numbers like 1,234.50 or 1234.5"
    with pytest.raises(TaskError, match=f"query 1: .*{said}"):
        checked(Task.from_examples([("a", "1")], "b", target=text, answer=NUMBER))
    with pytest.raises(TaskError, match=f"demonstration 1: .*{said}"):
        checked(Task.from_examples([("a", text)], "b", answer=NUMBER))
    assert read_answer(f"{text} it is", NUMBER)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5 apples", "5"), ("#### 42", "42"), ("$5", "5"), ("\N{MINUS SIGN}5", "-5"), ("5,", "5")],
)
def test_a_target_may_have_words_around_its_number(text: str, number: str) -> None:
    """They are left away."""
    task = checked(Task.from_examples([("a", text)], "b", target=text, answer=NUMBER))
    assert (task.demonstrations[0].output, task.targets) == (number, (number,))


@given(
    st.decimals(-(10**12), 10**12, allow_nan=False, places=3),
    st.sampled_from(["", ","]),
    st.sampled_from(["-", "\N{MINUS SIGN}", "\N{EN DASH}"]),
)
def test_a_target_keeps_its_value(value: Decimal, separator: str, minus: str) -> None:
    """However its sign and its thousands are written, and checking it again changes nothing."""
    text = f"{value:{separator}f}".replace("-", minus)
    task = checked(Task.from_examples([("a", text)], "b", target=text, answer=NUMBER))
    assert task.targets is not None
    assert Decimal(str(task.targets[0])) == value
    assert checked(task) == task


@given(st.integers(0, 999), st.integers(0, 10**9).map(str))
def test_a_comma_in_a_target_is_never_dropped_unseen(before: int, after: str) -> None:
    """It parts thousands or is refused."""
    text = f"{before},{after}"
    task = Task.from_examples([("a", "1")], "b", target=text, answer=NUMBER)
    if len(after) == 3:
        assert checked(task).targets == (str(int(f"{before}{after}")),)
    else:
        with pytest.raises(TaskError, match="is not one number"):
            checked(task)


def test_a_number_too_large_to_write_is_no_answer() -> None:
    """A model may write anything; the attempt goes on."""
    with pytest.raises(TaskError, match="more than 1000 digits"):
        read_answer("1e9999999", AnswerFormat("number"))


def test_a_target_is_in_the_form_that_answers_come_in() -> None:
    """White space runs are one space; what demonstrations show stays as it is."""
    task = Task.from_examples([("a", "b\n    c")], "d", target="e\n    f")
    known = checked(task)
    assert known.targets == (read_answer("e\n    f", task.answer),) == ("e\nf",)
    assert known.demonstrations == task.demonstrations


def test_a_task_is_checked_once_and_for_all() -> None:
    """Outputs take the form of answers; one outside the options is an error that says where."""
    task = Task.from_examples([(ASKED, "a train")], ASKED, target="A", answer=CHOICE)
    ready = checked(task)
    assert (ready.demonstrations[0].output, ready.targets) == ("(B)", ("(A)",))
    assert checked(ready) == ready
    assert choices_of(ready, ready.queries[0]) == ("(A)", "(B)")
    wrong = Task.from_examples([(ASKED, "(D)")], ASKED, answer=CHOICE)
    with pytest.raises(TaskError, match="demonstration 1: the answer"):
        checked(wrong)


@pytest.mark.parametrize("choices", [("yes", "Yes"), ("yes", " ")], ids=["repeat", "empty"])
def test_choices_differ(choices: tuple[str, ...]) -> None:
    """Choices that repeat or are empty are refused."""
    with pytest.raises(TaskError, match="differ from each other"):
        AnswerFormat("choice", choices)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "", " ", "\na"])
def test_texts_no_model_can_be_given_are_refused(text: str) -> None:
    """NUL, lone surrogates, empty texts and newlines around a text raise `TaskError`."""
    with pytest.raises(TaskError):
        Task.from_examples([("a", "b")], text)


@pytest.mark.parametrize("value", [(3, -1, 2), ("x", "y"), ()])
def test_sequences_are_written_and_read(value: tuple[int | str, ...]) -> None:
    """A sequence as text reads back as what it was."""
    shown = [1, 2] if not value or isinstance(value[0], int) else ["x", "q"]
    task = Task.from_examples([(shown, shown)], value)
    assert task.domain == "sequence"
    assert text_to_value(value_to_text(value), task) == value


@pytest.mark.parametrize("value", [[1, "a"], ["a b"], ["[]"], [True, False]])
def test_lists_that_are_no_sequence_are_refused(value: list[int | str]) -> None:
    """Mixed items, symbols with spaces and the mark of the empty sequence raise `TaskError`."""
    with pytest.raises(TaskError):
        Task.from_examples([([1], [1])], value)
