"""What is asked of a strategy, perhaps of others, and what becomes of one that does not keep it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autottt.errors import AutotttError, StrategyError
from autottt.strategies.base import RunContext, Strategy
from autottt.types import Attempt, Task


def reason_against(strategy: Strategy, task: Task, context: RunContext) -> str | None:
    """Why the strategy cannot run on the task, or None; that it is broken is a reason too."""
    try:
        with _contained(strategy):
            return strategy.unavailable(task, context)
    except StrategyError as error:
        return str(error)


def attempted(strategy: Strategy, task: Task, context: RunContext) -> Attempt:
    """Run it. Raises what our own strategies raise, and `StrategyError` for all else."""
    with _contained(strategy):
        reason = strategy.unavailable(task, context)
        if reason is not None:
            raise StrategyError(f"{strategy.name} cannot run on this task: {reason}")
        attempt = strategy.run(task, context)
    if not isinstance(attempt, Attempt) or attempt.strategy != strategy.name:
        raise StrategyError(f"{strategy.name} is broken: it gave no attempt of its own")
    if len(attempt.candidates) != len(task.queries):
        raise StrategyError(
            f"{strategy.name} is broken: it gave candidates for {len(attempt.candidates)} queries "
            f"of {len(task.queries)}"
        )
    return attempt


@contextmanager
def _contained(strategy: Strategy) -> Iterator[None]:
    """Make whatever a strategy of others raises a `StrategyError`; our own bugs stay bugs."""
    try:
        yield
    except AutotttError:
        raise
    except Exception as error:
        if type(strategy).__module__.startswith("autottt."):
            raise
        why = f"{type(error).__name__}: {error}"
        raise StrategyError(f"{strategy.name} is broken: {why}") from error
