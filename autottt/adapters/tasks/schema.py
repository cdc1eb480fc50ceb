"""The ARC JSON format, validated where it enters: plain JSON in, a `Task` or a `TaskError` out.

    {"train": [{"input": GRID, "output": GRID}, ...],
     "test": [{"input": GRID, "output": GRID}, ...]}

A GRID is a list of rows of colours 0-9. A test input may lack its "output", a task may carry an
"id" and a "priority" (a whole number), and keys the format does not know are ignored. Where the
JSON came from is `files`' affair; tasks in words and of sequences are `text_schema`'s.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from autottt.adapters.tasks.text_schema import Priority, TextTaskModel, is_text_task
from autottt.errors import TaskError
from autottt.types import COLOURS, MAX_LINE, MAX_SIDE, Example, Task, as_grid

WORDS_REMEDY = (
    'a pair is {"input": TEXT, "output": TEXT}, or two lists of whole numbers or of symbols, and '
    'may have "options", a list of texts'
)


def _rectangle(rows: list[list[int]]) -> list[list[int]]:
    try:
        as_grid(rows)
    except TaskError as error:
        raise ValueError(str(error)) from None
    return rows


Cell = Annotated[int, Field(ge=0, lt=COLOURS)]
Row = Annotated[list[Cell], Field(min_length=1)]
Rows = Annotated[list[Row], Field(min_length=1), AfterValidator(_rectangle)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class DemonstrationModel(_Model):
    """One entry of "train"."""

    input: Rows
    output: Rows


class QueryModel(_Model):
    """One entry of "test"; the output is known in benchmarks only."""

    input: Rows
    output: Rows | None = None


class TaskModel(_Model):
    """A whole ARC task."""

    id: Annotated[str, Field(min_length=1)] | None = None
    train: Annotated[list[DemonstrationModel], Field(min_length=1)]
    test: Annotated[list[QueryModel], Field(min_length=1)]
    priority: Priority = 0

    def to_task(self, fallback_id: str) -> Task:
        """The task; its targets are kept only where every query has one."""
        targets = tuple(as_grid(q.output) for q in self.test if q.output is not None)
        return Task(
            id=self.id or fallback_id,
            demonstrations=tuple(Example(as_grid(e.input), as_grid(e.output)) for e in self.train),
            queries=tuple(as_grid(q.input) for q in self.test),
            targets=targets if len(targets) == len(self.test) else None,
            priority=self.priority,
        )


def parse_task(data: object, *, id: str, source: str) -> Task:
    """Validate decoded JSON as a task.

    `id` names the task unless the JSON does; `source` says in errors where the JSON came from.
    Raises `TaskError` with the place, the value and the remedy.
    """
    kind = TextTaskModel if is_text_task(data) else TaskModel
    try:
        return kind.model_validate(data).to_task(id)
    except ValidationError as error:
        raise TaskError(f"{source}: {_explain(error, words=kind is TextTaskModel)}") from None
    except TaskError as error:
        raise TaskError(f"{source}: {error}") from None


def _explain(error: ValidationError, *, words: bool) -> str:
    first, *others = error.errors(include_url=False)
    more = f" (and {len(others)} more)" if others else ""
    elsewhere = words and first["loc"] != ("priority",)
    remedy = WORDS_REMEDY if elsewhere else _remedy(first)
    return f"{_place(first)}{_problem(first)}; {remedy}{more}"


def _place(details: ErrorDetails) -> str:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in details["loc"])
    return f"{path.lstrip('.')}: " if path else ""


def _problem(details: ErrorDetails) -> str:
    match details["type"]:
        case "missing":
            return "the key is missing"
        case "value_error":
            return str(details["ctx"]["error"])
        case "too_short":
            return _empty(details)
        case _:
            value = repr(details["input"])
            value = value if len(value) <= 60 else value[:57] + "..."
            return f"{_expected(details)}, not {value}"


def _empty(details: ErrorDetails) -> str:
    match details["loc"]:
        case ("train",):
            return "the task has no demonstrations"
        case ("test",):
            return "the task has no query"
        case (_, _, _):
            return "the grid is empty"
        case _:
            return "the row is empty"


def _expected(details: ErrorDetails) -> str:
    if details["loc"] == ("priority",):
        return "expected a whole number"
    match details["type"]:
        case "model_type":
            return "expected a JSON object"
        case "list_type":
            return "expected a list"
        case "int_type" | "greater_than_equal" | "less_than":
            return f"a cell is a whole number from 0 to {COLOURS - 1}"
        case _:
            return details["msg"]


def _remedy(details: ErrorDetails) -> str:
    match details["loc"]:
        case ():
            return 'a task is {"train": [...], "test": [...]}'
        case ("train",):
            return 'give "train" at least one {"input": grid, "output": grid}'
        case ("test",):
            return 'give "test" at least one {"input": grid}'
        case ("id",):
            return 'give "id" as a text that is not empty, or leave it out'
        case ("priority",):
            return 'give "priority" as a whole number from -1000 to 1000, or leave it out'
        case ("train", _):
            return 'a demonstration is {"input": grid, "output": grid}'
        case ("test", _):
            return 'a query is {"input": grid}, with or without its "output"'
        case _:
            return (
                f"give a list of rows of equal length, each a list of 0 to {COLOURS - 1}, "
                f"at most {MAX_SIDE}x{MAX_SIDE} (a single row at most {MAX_LINE})"
            )
