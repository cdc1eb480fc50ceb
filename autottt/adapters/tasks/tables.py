"""A task out of a table of questions and answers: some rows are demonstrations, the rest queries.

A table is anything that gives rows as mappings: CSV, JSON lines, a data set of Hugging Face, or a
file of BIG-Bench Hard. One set of demonstrations serves all queries, so a model adapts once.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autottt.adapters.tasks.answers import checked
from autottt.adapters.tasks.options import LETTERS, with_options
from autottt.errors import TaskError
from autottt.types import AnswerFormat, Example, Task, as_text

log = logging.getLogger(__name__)
DEMONSTRATIONS = 10

# BIG-Bench Hard does not say in its files which answers there are; its prompts do.
YES_NO = AnswerFormat("choice", ("Yes", "No"))
BBH_ANSWERS = {
    "boolean_expressions": AnswerFormat("choice", ("True", "False")),
    "causal_judgement": YES_NO,
    "dyck_languages": AnswerFormat(),
    "formal_fallacies": AnswerFormat("choice", ("valid", "invalid")),
    "multistep_arithmetic_two": AnswerFormat("number"),
    "navigate": YES_NO,
    "object_counting": AnswerFormat("number"),
    "sports_understanding": AnswerFormat("choice", ("yes", "no")),
    "web_of_lies": YES_NO,
    "word_sorting": AnswerFormat(),
}


@dataclass(frozen=True)
class TableSettings:
    """How a table is read: names of columns, and which rows are demonstrations.

    `options` is a column of lists, or of texts with `|` between options; an answer is then one of
    them, its letter, or its place counted from 0. `demonstrations` rows are drawn with `seed`; the
    others are queries in the order of the table.
    """

    input: str = "input"
    output: str = "output"
    options: str = "options"
    demonstrations: int = DEMONSTRATIONS
    seed: int = 0
    instruction: str = ""
    answer: AnswerFormat | None = None

    def refuse(self, source: str) -> None:
        """Raise `TaskError` where these would go unheard, as the source is no table."""
        if replace(self, seed=0) != TableSettings():
            raise TaskError(
                f"{source} says itself what to do, what is shown and how to answer; --instruction, "
                "--answer, --choices, --columns and --demonstrations are for tables"
            )


def parse_columns(text: str) -> dict[str, str]:
    """`input=question,output=answer` as a mapping; raises `TaskError`."""
    found = {}
    for pair in filter(None, text.split(",")):
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or not column or name not in ("input", "output", "options"):
            raise TaskError(
                f"--columns is like input=question,output=answer,options=choices, not {text!r}"
            )
        found[name] = column
    return found


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text with a header."""
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise TaskError(f"this is no CSV: {error}") from error


def bbh_task(data: Mapping[str, Any], name: str, settings: TableSettings) -> Task:
    """A file of BIG-Bench Hard, `{"examples": [{"input", "target"}, ...]}`."""
    rows = data.get("examples")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise TaskError(f'{name}: "examples" is a list of {{"input", "target"}}')
    if (settings.input, settings.output, settings.options) != ("input", "output", "options"):
        raise TaskError(f"{name} is of BIG-Bench Hard, whose columns are known; --columns is not")
    letters = AnswerFormat("choice")
    answer = settings.answer or BBH_ANSWERS.get(name, letters)
    own = TableSettings(
        "input",
        "target",
        "",
        settings.demonstrations,
        settings.seed,
        settings.instruction,
        answer,
    )
    return table_task(rows, name, own)


def table_task(rows: Iterable[object], name: str, settings: TableSettings) -> Task:
    """The task of a table. Rows that cannot be used are left out with a warning that counts them.

    Where rows list options, one that lists none cannot be used. Raises `TaskError` where too few
    are left.
    """
    usable, wrong = _usable(rows, name, settings)
    if wrong:
        log.warning("%s: %d rows were left out; %s", name, len(wrong), wrong[0])
    if len(usable) <= settings.demonstrations or settings.demonstrations < 1:
        first = f" ({wrong[0]})" if wrong else ""
        raise TaskError(
            f"{name} has {len(usable)} rows that can be used{first}, which is too few for "
            f"{settings.demonstrations} demonstrations and a query; give fewer --demonstrations"
        )
    drawn = np.random.default_rng(settings.seed).permutation(len(usable))
    shown = [int(i) for i in drawn[: settings.demonstrations]]
    asked_rows = [usable[i][0] for i in range(len(usable)) if i not in set(shown)]
    return checked(
        Task(
            id=name,
            demonstrations=tuple(usable[i][0] for i in shown),
            queries=tuple(e.input for e in asked_rows),
            targets=tuple(e.output for e in asked_rows),
            domain="text",
            instruction=settings.instruction,
            answer=usable[0][1],
        )
    )


def _usable(
    rows: Iterable[object], name: str, settings: TableSettings
) -> tuple[list[tuple[Example, AnswerFormat]], list[str]]:
    """The rows as examples, with the format of their answers, and what is wrong with the others."""
    good: dict[int, tuple[Example, AnswerFormat]] = {}
    wrong: dict[int, str] = {}
    listing = set[int]()  # numbers of usable rows with options
    for number, row in enumerate(rows, start=1):
        try:
            asked, told, lists = _pair(row, settings)
            form = settings.answer or AnswerFormat("choice" if lists else "text")
            one = Task(name, (Example(asked, told),), (asked,), None, "text", answer=form)
            good[number] = checked(one).demonstrations[0], form
        except TaskError as error:
            wrong[number] = str(error)
            continue
        if lists:
            listing.add(number)
    if listing:
        bare = f"it lists no options in column {settings.options!r}, where other rows do"
        wrong |= dict.fromkeys(good.keys() - listing, bare)
    usable = [found for number, found in good.items() if number not in wrong]
    return usable, [f"row {number}: {wrong[number]}" for number in sorted(wrong)]


def _pair(row: object, settings: TableSettings) -> tuple[str, str, bool]:
    """Input, output, and whether the row lists options."""
    if not isinstance(row, Mapping):
        raise TaskError(f"it is no JSON object, but {str(row)[:60]!r}")
    if None in row:  # where `csv.DictReader` puts what is beyond the header
        raise TaskError('it has more cells than the header; put "..." around a text with commas')
    for column in (settings.input, settings.output):
        if column in row and row[column] is None:
            raise TaskError(f"it has nothing in column {column!r}; fill it or remove the row")
        if column not in row:
            raise TaskError(
                f"there is no column {column!r}, only {', '.join(map(str, row))}; name yours with "
                "--columns input=...,output=... (of solve, run and bench-text)"
            )
    asked, told = _cell(row[settings.input]).strip(), row[settings.output]
    given = row.get(settings.options) if settings.options else None
    if given is None or (isinstance(given, str) and not given.strip()):
        return as_text(asked), as_text(_cell(told).strip(), answer=True), False
    labels: list[str] = []
    if isinstance(given, Mapping):  # as data sets of questions have it
        labels, given = [_cell(x) for x in given.get("label", ())], given.get("text")
    if isinstance(given, str):
        given = given.split("|")
    if not isinstance(given, Sequence) or len(given) > len(LETTERS):
        raise TaskError(f"options are a list of at most {len(LETTERS)}, not {str(given)[:60]!r}")
    bodies = [_cell(body) for body in given]
    place = _place(told, bodies, labels)
    answer = _cell(told).strip() if place is None else f"({LETTERS[place]})"
    return with_options(as_text(asked), bodies), answer, True


def _cell(value: object) -> str:
    """What a cell holds, as text; raises `TaskError` where that is neither a text nor a number."""
    if not isinstance(value, str | int | float):
        raise TaskError(f"a cell is a text or a number, not {str(value)[:60]!r}")
    return str(value)


def _place(told: Any, bodies: Sequence[str], labels: Sequence[str]) -> int | None:
    """Which option a label or a place, counted from 0, stands for; None for other answers."""
    said = _cell(told).strip()
    if said in labels:
        return labels.index(said)
    counts = isinstance(told, int) and not isinstance(told, bool)
    if counts or (said.isdecimal() and said not in bodies):
        return int(said) if 0 <= int(said) < len(bodies) else None
    return None
