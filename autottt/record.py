"""An answer as the JSON object that `--json` prints and `autottt run` writes.

    task_id      the task's id
    answers      per query, at most --attempts candidates, best first:
                 {"output": grid, list or text, "score": its `Candidate.score`}
    confidence   the calibrated probability that the best candidates are right; where a strategy was
                 asked for its share of the vote, which nothing calibrated
    correct      per query, whether its first candidate is the target; null where none is known
    strategy     what gave the answer
    decisions    what the controller chose, in order, with the numbers that led to it
    attempts     what each strategy did and cost, with its error if it failed; "right" says whether
                 its first candidate for every query is the target, null where that is unknown
    seconds, tokens, restored, seed, warnings

Numbers that JSON cannot hold (infinite or not a number) are null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from autottt.types import JSON, Answer, Attempt, Candidate, Task

ATTEMPT = (
    "strategy",
    "seconds",
    "tokens",
    "steps",
    "held_out",
    "stop_reason",
    "error",
    "memory",
    "reused",
)


def correct(task: Task, candidates: Sequence[Sequence[Candidate]]) -> list[bool] | None:
    """Per query, whether its first candidate is the target; None where targets are unknown."""
    if task.targets is None:
        return None
    answers = zip(candidates, task.targets, strict=True)
    return [bool(found) and found[0].output == target for found, target in answers]


def is_right(task: Task, candidates: Sequence[Sequence[Candidate]]) -> bool:
    """Whether every query of a task with targets is answered rightly."""
    found = correct(task, candidates)
    assert found is not None
    return all(found)


def answer_object(task: Task, answer: Answer) -> JSON:
    """The answer as plain JSON values, as the module's docstring describes them."""
    fields = {
        "task_id": answer.task_id,
        "answers": [
            [{"output": c.output, "score": c.score} for c in candidates]
            for candidates in answer.answers
        ],
        "confidence": answer.confidence,
        "correct": correct(task, answer.answers),
        "strategy": answer.strategy,
        "decisions": [asdict(decision) for decision in answer.decisions],
        "attempts": [_attempt(task, attempt) for attempt in answer.attempts],
        "seconds": answer.seconds,
        "tokens": answer.tokens,
        "restored": answer.restored,
        "seed": answer.seed,
        "warnings": answer.warnings,
    }
    return {name: _plain(value) for name, value in fields.items()}


def given(answer: JSON) -> JSON:
    """Of an answer's object the attempt whose answer was given."""
    found: JSON = next(a for a in answer["attempts"] if a["strategy"] == answer["strategy"])
    return found


def line(value: JSON) -> str:
    """The object on one line."""
    return json.dumps(value, allow_nan=False)


def _attempt(task: Task, attempt: Attempt) -> JSON:
    known = task.targets is not None and attempt.candidates
    right = is_right(task, attempt.candidates) if known else None
    return {**{name: getattr(attempt, name) for name in ATTEMPT}, "right": right}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
