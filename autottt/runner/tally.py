"""What a run has come to so far: counts, accuracy where targets are known, and cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from autottt.record import given


@dataclass
class Tally:
    """Sums over the result lines of one run; `judged` counts tasks whose targets are known."""

    answered: int = 0
    failed: int = 0
    judged: int = 0
    right: int = 0
    seconds: float = 0.0
    tokens: int = 0
    strategies: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    stopped: str | None = None  # why the run ended with tasks left

    @classmethod
    def of(cls, lines: Iterable[str]) -> Tally:
        tally = cls()
        for line in lines:
            tally.add(line)
        return tally

    def add(self, line: str) -> None:
        """Count one line of `results.jsonl`; a task is right where every query is."""
        answer = json.loads(line)["answer"]
        if answer is None:
            self.failed += 1
            return
        self.answered += 1
        self.seconds += answer["seconds"]
        self.tokens += answer["tokens"]
        self.strategies[answer["strategy"]] += 1
        right = given(answer)["right"]
        if right is not None:
            self.judged += 1
            self.right += right

    @property
    def done(self) -> int:
        return self.answered + self.failed

    @property
    def accuracy(self) -> float | None:
        """The share of the judged tasks that are right; None where none is."""
        return self.right / self.judged if self.judged else None

    @property
    def seconds_left(self) -> float | None:
        """What the tasks that wait will take, if they take what the others took on average."""
        return self.waiting * self.seconds / self.answered if self.answered else None
