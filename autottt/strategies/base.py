"""What a strategy is: a name, a reason it may be unavailable, and a run that gives an `Attempt`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from autottt.types import Attempt, Task, Value

if TYPE_CHECKING:
    from autottt.adapters.models.adapter_cache import AdapterCache
    from autottt.adapters.models.base import LanguageModel

TRAINING_SHARE = 0.75  # of the time left, when there is a deadline
OVER_ICL = "over_icl"  # in an attempt's evidence: how much it prefers its answer to the vote's
COMPARING_SECONDS = "comparing_seconds"  # and what asking it took
Progress = Callable[[str, int, int], None]  # (what, done, total)
Judge = Callable[[Mapping[str, float]], str | None]  # evidence so far -> why to stop, if so


def no_progress(what: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class RunContext:
    """What a strategy runs with: the model, the seed, the deadline and where progress goes.

    `deadline` is a reading of `time.monotonic()` past which no further step starts, or None.
    `adapters` are those trained before, to be reused; None trains anew each time. `related` are
    tasks that may share a rule with this one; only their demonstrations are used. `judge` is asked
    a few times in a training; its reason ends the attempt with an `AbandonedError`. `rivals` are
    the answers in hand, one a query, None where there is none: what is trained is asked what it
    thinks of them.
    """

    model: LanguageModel
    seed: int = 0
    deadline: float | None = None
    progress: Progress = no_progress
    adapters: AdapterCache | None = None
    related: tuple[Task, ...] = ()
    judge: Judge | None = None
    rivals: tuple[Value | None, ...] = ()

    def seconds_left(self) -> float | None:
        """Until the deadline, never below zero; None where there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def training_deadline(self) -> float | None:
        """When a training should end, so that what is left serves the answer."""
        left = self.seconds_left()
        return None if left is None else time.monotonic() + TRAINING_SHARE * left


class Strategy(Protocol):
    """A way to answer a task. `trains` says whether it attaches an adapter."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def trains(self) -> bool: ...

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        """Why the strategy cannot run on this task with this model, or None."""

    def run(self, task: Task, context: RunContext) -> Attempt:
        """Answer every query. Raises `StrategyError` when it fails; the model is then intact."""
