"""What a strategy is: a name, a reason it may be unavailable, and a run that gives an `Attempt`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from autottt.types import Attempt, Task

if TYPE_CHECKING:
    from autottt.adapters.models.base import LanguageModel

Progress = Callable[[str, int, int], None]  # (what, done, total)


def no_progress(what: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class RunContext:
    """What a strategy runs with: the model, the seed, the deadline and where progress goes.

    `deadline` is a reading of `time.monotonic()` past which no further step starts, or None.
    """

    model: LanguageModel
    seed: int = 0
    deadline: float | None = None
    progress: Progress = no_progress

    def expired(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline


class Strategy(Protocol):
    """A way to answer a task. `trains` says whether it attaches a LoRA."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def trains(self) -> bool: ...

    def unavailable(self, task: Task, model: LanguageModel) -> str | None:
        """Why the strategy cannot run on this task with this model, or None."""

    def run(self, task: Task, context: RunContext) -> Attempt:
        """Answer every query. Raises `StrategyError` when it fails; the model is then intact."""
