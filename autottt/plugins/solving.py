"""What the plug-ins share: one solver that is loaded on first use and asked by one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autottt.controller.state import Listener, no_listener
from autottt.errors import StrategyError, TaskError
from autottt.server.conversation import Raw, Reading
from autottt.strategies.base import Progress, no_progress
from autottt.types import Answer, Candidate

if TYPE_CHECKING:
    from autottt.solver import Solver


PAIR = '{"input": ..., "output": ...}'


def pairs_of(given: Mapping[str, object], key: str = "demonstrations") -> list[tuple[Raw, Raw]]:
    """The demonstrations under a key; raises `TaskError` where it or part of a pair is missing."""
    pairs = given.get(key)
    if not isinstance(pairs, Sequence) or isinstance(pairs, str):
        raise TaskError(f"{key!r} is missing, or no list; give it as a list of {PAIR}")
    for place, pair in enumerate(pairs, start=1):
        for part in ("input", "output"):
            if not isinstance(pair, Mapping) or part not in pair:
                raise TaskError(f"{part!r} of demonstration {place} is missing; give it as {PAIR}")
    return [(pair["input"], pair["output"]) for pair in pairs]


@dataclass
class LazySolver:
    """Loads what `load` gives when it is first asked, and answers one task after another."""

    load: Callable[[], Solver]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _solver: Solver | None = None

    @classmethod
    def of(cls, solver: Solver | None = None, *, model: str = "embedded") -> LazySolver:
        """Around a solver that is there already, or one with this model."""

        def load() -> Solver:
            from autottt.solver import Solver

            return Solver(model)

        return cls(load) if solver is None else cls(lambda: solver)

    def solve(
        self,
        reading: Reading,
        *,
        strategy: str | None = None,
        seed: int = 0,
        deadline: float | None = None,
        progress: Progress = no_progress,
        on_event: Listener = no_listener,
    ) -> tuple[Answer, Candidate]:
        """The answer and its best candidate; raises `StrategyError` where there is none."""
        with self._lock:
            if self._solver is None:
                self._solver = self.load()
            answer = self._solver.solve(
                reading.task,
                strategy=strategy,
                seed=seed,
                deadline=deadline,
                progress=progress,
                on_event=on_event,
            )
        (candidates,) = answer.answers
        if not candidates:
            raise StrategyError("the model gave no output that is valid for this task")
        return answer, candidates[0]

    def count(self, text: str) -> int:
        """Tokens of a text; the solver has been asked before."""
        assert self._solver is not None
        return len(self._solver.model.encode(text))
