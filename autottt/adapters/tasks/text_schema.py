"""Tasks in words and of sequences as JSON, validated where they enter; grids are in `schema`.

    {"instruction": "Which word comes first?",
     "answer": {"kind": "text" | "number" | "choice", "choices": [...], "max_characters": N},
     "train": [{"input": TEXT, "output": TEXT, "options": [TEXT, ...]}, ...],
     "test": [{"input": TEXT, "output": TEXT}, ...],
     "priority": N}

All but "train" and "test" may be left out. With "options" an answer is one of them, given as it is
or by its letter. In a task of sequences, an input or output is a list of whole numbers or of
symbols.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from autottt.adapters.tasks.answers import checked
from autottt.adapters.tasks.options import with_options
from autottt.errors import TaskError
from autottt.types import AnswerFormat, Example, Given, Task, as_value

Priority = Annotated[int, Field(ge=-1000, le=1000)]
Words = StrictStr | list[StrictInt | StrictStr]


def _usable(value: str | list[int | str]) -> str | list[int | str]:
    try:
        as_value(value)
    except TaskError as error:
        raise ValueError(str(error)) from None
    return value


Input = Annotated[Words, AfterValidator(_usable)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class PairModel(_Model):
    """One entry of "train" or "test"."""

    input: Input
    output: Input | None = None
    options: list[str] | None = None

    def asked(self) -> Given:
        """The input with its options below it."""
        if self.options is None:
            return self.input
        return with_options(str(self.input), self.options)


class ShownModel(PairModel):
    """One entry of "train", whose output is known."""

    output: Input


class AnswerModel(_Model):
    """How answers are read."""

    kind: Literal["text", "number", "choice"] = "text"
    choices: list[str] = []
    max_characters: int | None = None


class TextTaskModel(_Model):
    """A whole task in words or of sequences."""

    id: Annotated[str, Field(min_length=1)] | None = None
    instruction: str = ""
    answer: AnswerModel | None = None
    train: Annotated[list[ShownModel], Field(min_length=1)]
    test: Annotated[list[PairModel], Field(min_length=1)]
    priority: Priority = 0

    def to_task(self, fallback_id: str) -> Task:
        """The task; its targets are kept only where every query has one. Raises `TaskError`."""
        targets = tuple(as_value(q.output, answer=True) for q in self.test if q.output is not None)
        queries = tuple(as_value(q.asked()) for q in self.test)
        return checked(
            Task(
                id=self.id or fallback_id,
                demonstrations=tuple(
                    Example(as_value(e.asked()), as_value(e.output, answer=True))
                    for e in self.train
                ),
                queries=queries,
                targets=targets if len(targets) == len(self.test) else None,
                domain="text" if isinstance(queries[0], str) else "sequence",
                instruction=self.instruction,
                answer=self._answer(),
                priority=self.priority,
            )
        ).unquoted()

    def _answer(self) -> AnswerFormat:
        if self.answer is None:
            listed = any(e.options is not None for e in [*self.train, *self.test])
            return AnswerFormat("choice" if listed else "text")
        given = self.answer
        kind = "choice" if given.choices and given.kind == "text" else given.kind
        return AnswerFormat(kind, tuple(given.choices), given.max_characters)


def is_text_task(data: object) -> bool:
    """Whether JSON looks like a task in words or of sequences, and not of grids."""
    if not isinstance(data, dict):
        return False
    pairs = [
        p for part in ("train", "test") if isinstance(data.get(part), list) for p in data[part]
    ]
    values = [v for p in pairs if isinstance(p, dict) for v in (p.get("input"), p.get("output"))]
    if any(isinstance(v, list) and v and isinstance(v[0], list) for v in values):
        return False
    return any(isinstance(v, str) or (isinstance(v, list) and v) for v in values)
