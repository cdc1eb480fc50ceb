"""The values that pass between the steps, from task to answer.

Everything here is frozen and plain, so that it can be hashed, compared and turned into JSON. The
module knows nothing of models, prompts or files; a `Task` from outside is validated where it
enters (`adapters.tasks.schema`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from autottt.errors import TaskError

Grid = tuple[tuple[int, ...], ...]  # H rows of W colours, each 0-9
Items = tuple[int | str, ...]  # a sequence of whole numbers, or of symbols without white space
Value = Grid | Items | str  # what a task maps, in the domains "grid", "sequence" and "text"
JSON = dict[str, Any]

Given = Sequence[Sequence[int]] | Sequence[int | str] | str  # what users write for a `Value`
EMPTY = "[]"  # how a sequence without items is written

COMPLETE = "complete"  # why an attempt ended that did all that it was to do
DEADLINE = "deadline"  # why an attempt ended that had no more time
MAX_SIDE = 30
MAX_LINE = 256  # a grid of one row may be longer than MAX_SIDE
COLOURS = 10
WHOLE = 2**63  # a whole number of a sequence is from -WHOLE to WHOLE - 1, as formats hold these
NUMERAL = re.compile(r"[-+]?[0-9]+")


def as_grid(rows: Sequence[Sequence[int]]) -> Grid:
    """Copy nested sequences of integers into a `Grid`; raises `TaskError` if it is not one."""
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise TaskError(f"a grid is a non-empty list of rows, not {_short(rows)}")
    if any(not isinstance(row, Sequence) or isinstance(row, str) or not row for row in rows):
        raise TaskError(f"every row of a grid is a non-empty list of colours, not {_short(rows)}")
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise TaskError(f"the rows of a grid differ in length: {sorted(widths)}")
    if len(rows) > MAX_SIDE or max(widths) > (MAX_SIDE if len(rows) > 1 else MAX_LINE):
        raise TaskError(
            f"a grid of {len(rows)}x{max(widths)} is over the limit of {MAX_SIDE}x{MAX_SIDE} "
            f"(1x{MAX_LINE} for a single row)"
        )
    for row in rows:
        for cell in row:
            if isinstance(cell, bool) or not isinstance(cell, int) or not 0 <= cell < COLOURS:
                raise TaskError(f"a cell is a whole number from 0 to 9, not {_short(cell)}")
    return tuple(tuple(row) for row in rows)


def as_text(text: str, *, answer: bool = False) -> str:
    """The text itself; raises `TaskError` if it is empty or no model can be given it.

    Empty lines are for inputs: an `answer` has none, as an empty line ends one.
    """
    if not text.strip():
        raise TaskError(f"an input or output is a text that is not empty, not {_short(text)}")
    if text.startswith("\n") or text.endswith("\n") or (answer and "\n\n" in text):
        raise TaskError(
            f"a text has no newline around it, and an output no empty line: {_short(text)}"
        )
    wrong = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if wrong is not None:
        raise TaskError(f"a text cannot hold the character {wrong!r}: {_short(text)}; take it out")
    return text


def as_items(items: Sequence[int | str]) -> Items:
    """Copy a list of whole numbers, or of symbols; raises `TaskError` if it is neither.

    Nor are numbers beyond 64 bits taken, which a trace could not keep.
    """
    numbers = all(isinstance(item, int) and not isinstance(item, bool) for item in items)
    if not numbers and not all(isinstance(item, str) for item in items):
        raise TaskError(f"a sequence is of whole numbers or of symbols, not {_short(items)}")
    for item in items:
        if isinstance(item, int) and not -WHOLE <= item < WHOLE:
            raise TaskError(
                f"a whole number of a sequence has at most 64 bits, not {_short(item)}; give "
                "smaller ones, or the task as texts"
            )
        if isinstance(item, str) and (not item or any(c.isspace() for c in item) or item == EMPTY):
            raise TaskError(
                f"a symbol is a text without white space, and not {EMPTY!r}; this is {_short(item)}"
            )
        as_text(str(item))
    return tuple(items)


def as_value(value: Given, *, answer: bool = False) -> Value:
    """A text, a list of numbers or symbols, or a grid, as a `Value`; raises `TaskError`."""
    if isinstance(value, str):
        return as_text(value, answer=answer)
    if isinstance(value, Sequence) and all(isinstance(item, int | str) for item in value):
        return as_items(cast("Sequence[int | str]", value))
    return as_grid(cast("Sequence[Sequence[int]]", value))


def domain_of(value: Value) -> str:
    """ "text", "sequence" or "grid"; the empty tuple is a sequence."""
    if isinstance(value, str):
        return "text"
    return "grid" if value and isinstance(value[0], tuple) else "sequence"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Example:
    """One demonstration: an input and the output that the task's rule gives for it."""

    input: Value
    output: Value


@dataclass(frozen=True)
class AnswerFormat:
    """What the answers of a text task are, and so how they are read out of what a model writes.

    "text": all of it, runs of white space counting as one. "number": the first or only number,
    without separators. "choice": one of `choices`, or without them the letter of one of the options
    that each input lists (see `adapters.tasks.options`). `max_characters` bounds the length.
    """

    kind: Literal["text", "number", "choice"] = "text"
    choices: tuple[str, ...] = ()
    max_characters: int | None = None

    def __post_init__(self) -> None:
        folded = [choice.strip().casefold() for choice in self.choices]
        if len(set(folded)) < len(folded) or "" in folded:
            raise TaskError(f"choices differ from each other and are not empty: {self.choices}")
        if self.choices and self.kind != "choice":
            raise TaskError(f'choices are for answers of the kind "choice", not {self.kind!r}')
        if self.max_characters is not None and self.max_characters < 1:
            raise TaskError(f"max_characters is at least 1, not {self.max_characters}")


@dataclass(frozen=True)
class Task:
    """Demonstrations of one rule, and the queries to answer by it.

    `targets` holds the right outputs of the queries where they are known; it serves evaluation
    and the outcome log alone and never reaches a prompt. `instruction` says in words what to do;
    `answer` how answers are read. In a run tasks of a higher `priority` come first.
    """

    id: str
    demonstrations: tuple[Example, ...]
    queries: tuple[Value, ...]
    targets: tuple[Value, ...] | None = None
    domain: str = "grid"  # or "sequence" or "text"
    instruction: str = ""
    answer: AnswerFormat = AnswerFormat()
    priority: int = 0

    def __post_init__(self) -> None:
        if not self.demonstrations:
            raise TaskError(f"task {self.id!r} has no demonstrations; give at least one pair")
        if not self.queries:
            raise TaskError(f"task {self.id!r} has no query; give at least one test input")
        if self.targets is not None and len(self.targets) != len(self.queries):
            raise TaskError(
                f"task {self.id!r} has {len(self.queries)} queries but {len(self.targets)} targets"
            )
        if any(domain_of(v) != self.domain for v in self._values()):
            raise TaskError(
                f"task {self.id!r} of the domain {self.domain!r} holds values of another; all are "
                'grids (domain "grid"), all are lists of numbers or symbols ("sequence"), or all '
                'are texts ("text")'
            )
        if self.instruction:
            as_text(self.instruction)
        if self.answer.kind != "text" and self.domain != "text":
            raise TaskError(f"answers of the kind {self.answer.kind!r} are for texts")

    def _values(self) -> list[Value]:
        shown = [v for e in self.demonstrations for v in (e.input, e.output)]
        return [*shown, *self.queries, *(self.targets or ())]

    def unquoted(self) -> Task:
        """Itself; raises `TaskError` where it has symbols and every one of them is a number.

        Someone put numbers, or the rows of grids, in quotes: they would be taken as neither.
        """
        items = [i for v in self._values() if not isinstance(v, str) for i in v]
        symbols = [i for i in items if isinstance(i, str)]
        if symbols and all(map(NUMERAL.fullmatch, symbols)):
            raise TaskError(
                f"every symbol of the sequences is a number in quotes: {_short(symbols[0])}; "
                "write numbers without quotes; a row of a grid is a list of colours"
            )
        return self

    @classmethod
    def from_examples(
        cls,
        examples: Sequence[tuple[Given, Given]],
        query: Given,
        *,
        id: str = "task",
        target: Given | None = None,
        instruction: str = "",
        answer: AnswerFormat | None = None,
    ) -> Task:
        """Build a task from `(input, output)` pairs and one query, all of one domain.

        Raises `TaskError`.
        """
        asked = as_value(query)
        return cls(
            id=id,
            demonstrations=tuple(
                Example(as_value(x), as_value(y, answer=True)) for x, y in examples
            ),
            queries=(asked,),
            targets=None if target is None else (as_value(target, answer=True),),
            domain=domain_of(asked),
            instruction=instruction,
            answer=answer or AnswerFormat(),
        ).unquoted()


@dataclass(frozen=True)
class Candidate:
    """One proposed output for a query.

    `score` in [0, 1] is the share of the vote, or, where views scored the answers, of the product
    of their probabilities; `log_probability` (nats, <= 0) is the mean over the views that proposed
    or scored it of the sequence log-probability.
    """

    output: Value
    score: float
    log_probability: float


@dataclass(frozen=True)
class Attempt:
    """What one strategy did: candidates per query (best first), its evidence and its cost.

    `held_out` is the share of held-out demonstrations answered exactly, in [0, 1], where the
    strategy measured it. `stop_reason` says why it ended; `error` is set when it failed, and then
    `candidates` is empty. `memory` is the most that was in use so far, in bytes (of the process on
    a CPU, of torch on a GPU), where the strategy measured it. `reused` says that it trained
    nothing, as its adapter was known; `tokens` are still those of the training.
    """

    strategy: str
    candidates: tuple[tuple[Candidate, ...], ...]
    seconds: float
    tokens: int
    steps: int = 0
    held_out: float | None = None
    stop_reason: str = COMPLETE
    evidence: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    memory: int = 0
    reused: bool = False

    @property
    def winners(self) -> tuple[Value | None, ...]:
        """The first candidate of every query, None where there is none."""
        return tuple(found[0].output if found else None for found in self.candidates)


@dataclass(frozen=True)
class Decision:
    """One choice of the controller, with the numbers that led to it.

    `utilities` and `gains` are in units of accuracy, `costs` in seconds, per arm considered.
    `propensity` is the probability with which it was chosen, 1 unless the controller explores.
    """

    chosen: str
    reason: str
    probability_right: float
    gains: dict[str, float]
    costs: dict[str, float]
    utilities: dict[str, float]
    top_features: tuple[tuple[str, float, float], ...] = ()  # (name, value, pull on the log-odds)
    propensity: float = 1.0

    @property
    def asked_for(self) -> bool:
        """Whether there was nothing to decide, as someone named the strategy."""
        return self.reason == asked(self.chosen)


def asked(strategy: str) -> str:
    """The reason of a decision that was not the controller's."""
    return f"{strategy} was asked for"


@dataclass(frozen=True)
class Answer:
    """The result of a task: candidates per query, the trace of decisions, and the cost.

    `answers` are best first, and empty for a query to which no view gave a valid output.
    `confidence` is the gate's calibrated probability that the first candidates are right; without a
    gate it is a share of the vote or of the held-out demonstrations, and where one strategy was
    asked for that of its vote, 0 where it has none. `seconds` are wall seconds of the whole,
    `restored` is proven by a checksum over the weights.
    """

    task_id: str
    answers: tuple[tuple[Candidate, ...], ...]
    strategy: str
    decisions: tuple[Decision, ...]
    attempts: tuple[Attempt, ...]
    confidence: float
    seconds: float
    tokens: int
    restored: bool
    seed: int
    warnings: tuple[str, ...] = ()

    @property
    def late(self) -> bool:
        """Whether the deadline cut short what gave the answer."""
        own = (a.stop_reason for a in self.attempts if a.strategy == self.strategy)
        return any(reason.startswith(DEADLINE) for reason in own)
