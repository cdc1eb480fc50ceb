"""What the LangGraph machine carries: plain JSON in the state, everything live in the context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import LanguageModel
from autottt.controller.difficulty import Gate
from autottt.controller.policy import Policy
from autottt.serialise import to_json
from autottt.strategies.base import Progress, Strategy, no_progress
from autottt.types import JSON, Task

UNLOGGED = "the trace of this answer was not kept"
Listener = Callable[[str, JSON], None]


def no_listener(kind: str, payload: JSON) -> None:
    """Tell nobody."""


class SolveState(TypedDict, total=False):
    """One task on its way to an answer. Strings, numbers, lists and dicts only."""

    task: JSON
    seed: int
    forced: str | None  # the strategy asked for, if any
    features: dict[str, float]  # of the probe
    in_hand: str  # the arm whose answer would be given now
    confidence: float  # the probability that it is right
    attempts: list[JSON]
    decisions: list[JSON]
    unavailable: dict[str, str]  # arm -> why it cannot run or how it failed
    spent: float  # seconds in the nodes so far
    answer: JSON


@dataclass(frozen=True)
class SolveContext:
    """What the nodes work with; never part of a checkpoint.

    `deadline` is a reading of `time.monotonic()`, or None. `log` is a JSON-lines file to which
    every answer's trace is appended, or None; where that fails the error ends a run that is
    `resumable` from checkpoints, and is a warning in any other answer. `adapters` and `related` are
    as in `RunContext`. `prepared` is the task's share of the seconds that a common training before
    the next took.
    """

    model: LanguageModel
    strategies: Mapping[str, Strategy]
    policy: Policy
    gate: Gate | None = None
    arms: tuple[str, ...] = ("ttt",)  # the training strategies on offer
    deadline: float | None = None
    progress: Progress = no_progress
    listener: Listener = no_listener
    log: Path | None = None
    adapters: AdapterCache | None = None
    related: tuple[Task, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    prepared: float = 0.0
    resumable: bool = False


def first_state(task: Task, *, seed: int = 0, forced: str | None = None) -> SolveState:
    """The state in which a task enters the machine."""
    plain: dict[str, Any] = to_json(task)
    plain["targets"] = None  # what is right never travels with the question
    return SolveState(
        task=plain,
        seed=seed,
        forced=forced,
        features={},
        attempts=[],
        decisions=[],
        unavailable={},
        spent=0.0,
    )
