"""An example plug-in: a strategy that answers every query with its own input.

It is a baseline that needs no model, and shows all that a strategy is: three facts about itself,
a reason not to run, and a run. The entry point names something that is called without arguments
and gives the strategy; here the class itself. What `run` raises as `StrategyError` is recorded as a
failed attempt, and the controller goes on with the answer it has.
"""

from __future__ import annotations

import time

from autottt.errors import StrategyError
from autottt.strategies.base import RunContext
from autottt.types import Attempt, Candidate, Task


class Unchanged:
    """Every output is the input; unavailable where a demonstration shows otherwise in its size."""

    name = "unchanged"
    summary = "every input is its own output"
    trains = False

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        for number, shown in enumerate(task.demonstrations, start=1):
            if len(shown.input) != len(shown.output):
                return f"demonstration {number} changes the size"
        return None

    def run(self, task: Task, context: RunContext) -> Attempt:
        begin = time.perf_counter()
        if not any(shown.input == shown.output for shown in task.demonstrations):
            raise StrategyError("no demonstration leaves its input unchanged")
        return Attempt(
            strategy=self.name,
            candidates=tuple((Candidate(query, 1.0, 0.0),) for query in task.queries),
            seconds=time.perf_counter() - begin,
            tokens=0,
        )
