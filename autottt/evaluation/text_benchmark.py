"""Tasks in words, each with one set of demonstrations and many queries: who answers how many.

Beside every strategy stand the most frequent output of the demonstrations, which needs no model,
and how many demonstrations the context had room for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autottt.errors import AutotttError, InputError
from autottt.solver import Solver
from autottt.strategies.shortening import shortened
from autottt.types import Answer, Task

log = logging.getLogger(__name__)
GUESS = "most frequent output"
STRATEGIES = ("zero-shot", "icl", "icl-vote", "icl-options", "ttt", "ttt-watch", "ttt-words")


@dataclass(frozen=True)
class Result:
    """One strategy on one task with one seed; `right` of `queries` by the first candidate."""

    task: str
    strategy: str
    seed: int
    right: int
    queries: int
    seconds: float
    shown: int  # demonstrations in the prompt
    given: int
    held_out: float | None = None


def measure_texts(
    solver: Solver, tasks: Sequence[Task], strategies: Sequence[str], seed: int
) -> Iterator[Result]:
    """Every strategy on every task that it can serve, as they come."""
    for task in tasks:
        try:
            short, _ = shortened(task, solver.model)
        except InputError as error:
            log.warning("%s: %s", task.id, error)
            continue
        shown, given = len(short.demonstrations), len(task.demonstrations)
        guess = Counter(e.output for e in task.demonstrations).most_common(1)[0][0]
        right = sum(target == guess for target in task.targets or ())
        yield Result(task.id, GUESS, seed, right, len(task.queries), 0.0, 0, given)
        for name in strategies:
            try:
                answer = solver.solve(task, strategy=name, seed=seed, attempts=1)
            except AutotttError as error:
                log.warning("%s by %s: %s", task.id, name, error)
                continue
            yield Result(
                task.id,
                name,
                seed,
                first_right(task, answer),
                len(task.queries),
                answer.seconds,
                0 if name == "zero-shot" else shown,
                given,
                answer.attempts[-1].held_out,
            )


def first_right(task: Task, answer: Answer) -> int:
    """On how many queries the first candidate is the target."""
    pairs = zip(answer.answers, task.targets or ())
    return sum(bool(found) and found[0].output == target for found, target in pairs)
