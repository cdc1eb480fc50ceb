"""The values that pass between the steps, from task to answer.

Everything here is frozen and plain, so that it can be hashed, compared and turned into JSON. The
module knows nothing of models, prompts or files; a `Task` from outside is validated where it
enters (`adapters.tasks.schema`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autottt.errors import TaskError

Grid = tuple[tuple[int, ...], ...]  # H rows of W colours, each 0-9
Value = Grid | str  # what a task maps: a grid, or a text in tasks whose domain is "text"
JSON = dict[str, Any]

MAX_SIDE = 30
MAX_LINE = 256  # a grid of one row may be longer than MAX_SIDE
COLOURS = 10


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


def as_text(text: str) -> str:
    """The text itself; raises `TaskError` if it is empty or holds an empty line, which ends one."""
    if not text.strip("\n"):
        raise TaskError(f"an input or output is a text that is not empty, not {_short(text)}")
    if "\n\n" in text or text.startswith("\n") or text.endswith("\n"):
        raise TaskError(f"a text has no empty line and no newline around it: {_short(text)}")
    return text


def _as_value(value: Sequence[Sequence[int]] | str) -> Value:
    return as_text(value) if isinstance(value, str) else as_grid(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Example:
    """One demonstration: an input and the output that the task's rule gives for it."""

    input: Value
    output: Value


@dataclass(frozen=True)
class Task:
    """Demonstrations of one rule, and the queries to answer by it.

    `targets` holds the right outputs of the queries where they are known; it serves evaluation
    and the outcome log alone and never reaches a prompt.
    """

    id: str
    demonstrations: tuple[Example, ...]
    queries: tuple[Value, ...]
    targets: tuple[Value, ...] | None = None
    domain: str = "grid"  # or "text"

    def __post_init__(self) -> None:
        if not self.demonstrations:
            raise TaskError(f"task {self.id!r} has no demonstrations; give at least one pair")
        if not self.queries:
            raise TaskError(f"task {self.id!r} has no query; give at least one test input")
        if self.targets is not None and len(self.targets) != len(self.queries):
            raise TaskError(
                f"task {self.id!r} has {len(self.queries)} queries but {len(self.targets)} targets"
            )
        values = [v for e in self.demonstrations for v in (e.input, e.output)]
        values += [*self.queries, *(self.targets or ())]
        if any(isinstance(v, str) != (self.domain == "text") for v in values):
            raise TaskError(
                f"task {self.id!r} of the domain {self.domain!r} holds values of another; all are "
                'grids (domain "grid") or all are texts (domain "text")'
            )

    @classmethod
    def from_examples(
        cls,
        examples: Sequence[tuple[Sequence[Sequence[int]] | str, Sequence[Sequence[int]] | str]],
        query: Sequence[Sequence[int]] | str,
        *,
        id: str = "task",
        target: Sequence[Sequence[int]] | str | None = None,
    ) -> Task:
        """Build a task from `(input, output)` pairs and one query, all grids or all texts.

        Raises `TaskError`.
        """
        return cls(
            id=id,
            demonstrations=tuple(Example(_as_value(x), _as_value(y)) for x, y in examples),
            queries=(_as_value(query),),
            targets=None if target is None else (_as_value(target),),
            domain="text" if isinstance(query, str) else "grid",
        )


@dataclass(frozen=True)
class Candidate:
    """One proposed output for a query.

    `score` in [0, 1] is the share of the vote; `log_probability` (nats, <= 0) is the mean over
    the views that proposed it of the sequence log-probability.
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
    stop_reason: str = "complete"
    evidence: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    memory: int = 0
    reused: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None


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


@dataclass(frozen=True)
class Answer:
    """The result of a task: candidates per query, the trace of decisions, and the cost.

    `confidence` is the gate's calibrated probability that the first candidates are right; where
    there is no gate, or one strategy was asked for, it is a share of the vote or of the held-out
    demonstrations. `seconds` are wall seconds of the whole, `restored` is proven by fingerprint.
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
