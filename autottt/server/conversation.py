"""Between a conversation and a task: earlier turns are demonstrations, the last one is the query.

A value is a grid as JSON (`[[0, 1], [2, 0]]`), a grid as rows of digits, or a text. Where nobody
says which domain is meant, a task that holds a grid as JSON, or whose values are all rows of digits
with several rows somewhere, is one of grids; any other is one of texts. The answer is written as
the query was. The module knows nothing of protocols, models or files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autottt.adapters.tasks.grid import text_to_grid
from autottt.adapters.tasks.prompts import value_to_text
from autottt.errors import TaskError
from autottt.types import Grid, Task, Value, as_grid

Raw = str | Sequence[Sequence[int]]  # a value as it came in
Domain = Literal["grid", "text"]
Form = Literal["json", "rows", "text"]  # how values are written
Turn = tuple[str, str]  # role, content
INSTRUCTORS = ("system", "developer")
_JSON = re.compile(r"\s*\[\s*\[\s*-?\d")  # a grid, and not "[[Page]]" or "[[ -f x ]]"


@dataclass(frozen=True)
class Reading:
    """A task, and the form in which its answer is to be written."""

    task: Task
    form: Form

    def write(self, value: Value) -> str:
        """An output in the form of the query."""
        if isinstance(value, str):
            return value
        if self.form == "json":
            return json.dumps(value)
        return value_to_text(value).rstrip("\n")


def read_turns(
    turns: Sequence[Turn],
    demonstrations: Sequence[tuple[Raw, Raw]] = (),
    *,
    domain: Domain | None = None,
) -> Reading:
    """The task of a conversation whose demonstrations are its earlier turns, or given apart.

    Raises `TaskError` for turns out of order and for what `read_values` refuses.
    """
    instructing = [text for role, text in turns if role in INSTRUCTORS]
    talk = [(role, text) for role, text in turns if role not in INSTRUCTORS]
    wanted = [("user", "assistant")[k % 2] for k in range(len(talk))]
    if len(instructing) > 1 or [role for role, _ in turns[1:] if role in INSTRUCTORS]:
        raise TaskError("there is at most one system message, and it comes first")
    if [role for role, _ in talk] != wanted or len(talk) % 2 == 0:
        raise TaskError(
            "messages are pairs of user (an input) and assistant (its output), then one of user "
            "(the query)"
        )
    texts = [text for _, text in talk]
    pairs = list(zip(texts[:-1:2], texts[1::2], strict=True))
    if pairs and demonstrations:
        raise TaskError("demonstrations are earlier messages or a field of their own; give one")
    known = demonstrations or pairs
    return read_values(known, texts[-1], instruction="".join(instructing).strip(), domain=domain)


def read_values(
    demonstrations: Sequence[tuple[Raw, Raw]],
    query: Raw,
    *,
    instruction: str = "",
    domain: Domain | None = None,
) -> Reading:
    """The task of these values; raises `TaskError` where they are not all of one domain."""
    raws = [raw for pair in demonstrations for raw in pair] + [query]
    if (domain or _domain(raws)) == "text":
        texts = [_text(raw) for raw in raws]
        pairs = list(zip(texts[:-1:2], texts[1::2], strict=True))
        return Reading(Task.from_examples(pairs, texts[-1], instruction=instruction), "text")
    grids = [_grid(raw) for raw in raws]
    examples = list(zip(grids[:-1:2], grids[1::2], strict=True))
    rows = isinstance(query, str) and not _is_json(query)
    return Reading(
        Task.from_examples(examples, grids[-1], instruction=instruction), "rows" if rows else "json"
    )


def _domain(raws: Sequence[Raw]) -> Domain:
    if any(not isinstance(raw, str) or _is_json(raw) for raw in raws):
        return "grid"
    texts = [_lines(str(raw)).strip("\n") for raw in raws]
    several = any("\n" in text for text in texts)
    return "grid" if several and all(map(_is_rows, texts)) else "text"


def _is_json(raw: str) -> bool:
    return _JSON.match(raw) is not None


def _lines(raw: str) -> str:
    return raw.replace("\r\n", "\n")


def _is_rows(text: str) -> bool:
    try:
        text_to_grid(text)
    except TaskError:
        return False
    return True


def _grid(raw: Raw) -> Grid:
    if not isinstance(raw, str):
        return as_grid(raw)
    if not _is_json(raw):
        return text_to_grid(_lines(raw).strip())
    try:
        return as_grid(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise TaskError(
            f"not a grid as JSON: {raw[:60]!r}; mend it, or say domain 'text' if it is a text"
        ) from error


def _text(raw: Raw) -> str:
    if not isinstance(raw, str):
        raise TaskError("a grid among texts; all values of a task are of one domain")
    return raw.strip("\n")
