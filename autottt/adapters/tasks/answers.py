"""Reading an answer out of what a model wrote, as the task's `AnswerFormat` says.

Answers come back in one form, so that votes count together and targets compare: white space runs
are one space, a number has no separators, a choice is spelled as the task spells it, a letter is
`(B)`. A completion may say more than its number, and the first counts; a target or a demonstration
holds one number, which can be read in one way only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from autottt.adapters.tasks.options import SYMBOLS, Options, find_options, option_marks
from autottt.errors import TaskError
from autottt.types import AnswerFormat, Example, Task, Value, as_text

MARKS = " .!\"'"  # that may stand around a choice
LARGEST = 1000  # digits of a number, before or after its point
_THINKING = re.compile(  # a block, or the end of one that the prompt has opened
    r"<think>.*?(?:</think>|\Z)|\A(?:(?!<think>).)*</think>", re.DOTALL
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_MINUS = re.compile("(?<!\\w)[\N{MINUS SIGN}\N{EN DASH}](?=\\.?\\d)")  # else a range
_MARK = re.compile(r"\(\s*(\w{1,2})\s*\)")
_BARE_MARK = re.compile(r"(?![AI][ \t]+\w)(\w{1,2})(?:[).:,]|\s|\Z)")  # not "A bus", "I think"


def read_answer(text: str, form: AnswerFormat, asked: str = "") -> str:
    """The answer that a completion gives to the input `asked`; raises `TaskError` for none."""
    text = said(text).strip()
    if form.max_characters is not None and len(text) > form.max_characters:
        raise TaskError(f"an answer of {len(text)} characters, {form.max_characters} are allowed")
    match form.kind:
        case "number":
            return _number(text)
        case "choice":
            return _member(text, form.choices) if form.choices else _option(text, asked)
        case _:
            return as_text("\n".join(" ".join(line.split()) for line in text.split("\n")))


def said(text: str) -> str:
    """A completion without what the model was thinking before."""
    return _THINKING.sub("", text)


def checked(task: Task) -> Task:
    """The task with its outputs in the one form of its answers.

    Raises `TaskError` for an output that is none, such as a choice outside the options, or a text
    with more digits than those of its number.
    """
    if task.domain != "text":
        return task
    if task.answer.kind == "text":  # demonstrations are shown as they are
        spoken = replace(task.answer, max_characters=None)
        known = task.targets and tuple(read_answer(str(t), spoken) for t in task.targets)
        return replace(task, targets=known)

    def form(output: Value, asked: Value, place: str) -> str:
        try:
            if task.answer.kind == "number":
                _check_alone(str(output))
            return read_answer(str(output), task.answer, str(asked))
        except TaskError as error:
            raise TaskError(f"task {task.id!r}, {place}: {error}") from None

    shown = tuple(
        Example(e.input, form(e.output, e.input, f"demonstration {i}"))
        for i, e in enumerate(task.demonstrations, start=1)
    )
    targets = None
    if task.targets is not None:
        pairs = zip(task.targets, task.queries, strict=True)
        targets = tuple(form(t, q, f"query {i}") for i, (t, q) in enumerate(pairs, start=1))
    for query in task.queries:
        find_options(str(query))
    return replace(task, demonstrations=shown, targets=targets)


def choices_of(task: Task, query: Value) -> tuple[str, ...]:
    """Every answer that a query may have, or none where that is not limited."""
    if task.domain != "text" or task.answer.kind != "choice":
        return ()
    if task.answer.choices:
        return task.answer.choices
    found = find_options(str(query))
    return () if found is None else option_marks(len(found.bodies))


def _check_alone(text: str) -> None:
    """Raises `TaskError` where a text holds more digits than those of the number read from it."""
    before, _, after = _NUMBER.sub("\0", said(text), count=1).partition("\0")
    if before.endswith(",") or re.search(r"\d", before + after):
        raise TaskError(
            f"{text[:60]!r} is not one number; write numbers like 1,234.50 or 1234.5, with a point "
            "before the decimals and no spaces, and nothing else that has digits"
        )


def _number(text: str) -> str:
    found = _NUMBER.search(_MINUS.sub("-", text))
    if found is None:
        raise TaskError(f"there is no number in {text[:60]!r}")
    try:
        value = Decimal(found[0].replace(",", ""))
    except InvalidOperation:
        raise TaskError(f"{found[0]!r} is not a number") from None
    if not value:
        return "0"
    if abs(value.adjusted()) > LARGEST:
        raise TaskError(f"{found[0]!r} is a number of more than {LARGEST} digits")
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _member(text: str, choices: tuple[str, ...]) -> str:
    """The choice that the text is, or else the one that it names first."""
    exact = {_folded(choice, ""): choice for choice in choices}
    if (spelled := _folded(text, "")) in exact:
        return exact[spelled]
    words, by_word = _folded(text, MARKS), {_folded(choice, MARKS): choice for choice in choices}
    if words in by_word:
        return by_word[words]
    places = {
        choice: found.start()
        for word, choice in by_word.items()
        if (found := re.search(rf"(?<!\w){re.escape(word)}(?!\w)", words))
    }
    if not places:
        raise TaskError(f"{text[:60]!r} is none of {', '.join(choices)}")
    return min(places, key=lambda choice: (places[choice], -len(choice)))


def _option(text: str, asked: str) -> str:
    """The mark of an option in brackets: as written, or that of the option with these words."""
    options, symbols = _listed(asked)
    bodies = () if options is None else options.bodies
    marks = option_marks(len(bodies), symbols)
    words = _folded(text)
    for mark, body in zip(marks, bodies, strict=True):
        if words == _folded(body):
            return mark
    found = _MARK.search(text) or _BARE_MARK.match(text)
    if found is None:
        raise TaskError(f"{text[:60]!r} names no option")
    if marks and f"({found[1]})" not in marks:
        raise TaskError(f"the answer ({found[1]}) is outside the options {' '.join(marks)}")
    return f"({found[1]})"


def _listed(asked: str) -> tuple[Options | None, Sequence[str]]:
    """The options of a question, and the symbols that mark them, which may be those of a view."""
    letters, *others = SYMBOLS
    options = find_options(asked, letters)
    if options is not None:
        return options, letters
    for symbols in others:
        with suppress(TaskError):  # a list by such marks that is none of a view's
            options = find_options(asked, symbols)
        if options is not None:
            return options, symbols
    return None, letters


def _folded(text: str, around: str = " .") -> str:
    return " ".join(text.split()).strip(around).casefold()
