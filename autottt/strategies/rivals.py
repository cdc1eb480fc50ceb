"""Answers of others beside one's own: which are scored, and which is found more probable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autottt.types import Candidate, Value


def complete(rivals: Sequence[Value | None]) -> tuple[Value, ...]:
    """The rivals, or none where one has no answer to some query."""
    known = tuple(rival for rival in rivals if rival is not None)
    return known if len(known) == len(rivals) else ()


def scored_together(own: Sequence[Sequence[Value]], rivals: Sequence[Value]) -> list[list[Value]]:
    """Per query the distinct answers, its own first; none where there is but one."""
    every = [list(dict.fromkeys([*of, *rivals[k : k + 1]])) for k, of in enumerate(own)]
    return [pool if len(pool) > 1 else [] for pool in every]


@dataclass(frozen=True)
class Scored:
    """Per query and candidate the mean log-probability over views, and the tokens read for it.

    `prompts` are tokens read per query, whatever the candidates.
    """

    means: list[list[float]]
    replies: list[list[int]]
    prompts: list[int]

    @property
    def tokens(self) -> int:
        return self.tokens_of([len(of) for of in self.replies])

    def tokens_of(self, candidates: Sequence[int]) -> int:
        """Read for the first so many candidates of each query; without any, not for its prompts."""
        parts = zip(candidates, self.prompts, self.replies, strict=True)
        return sum(prompts + sum(replies[:n]) for n, prompts, replies in parts if n)


def preference(
    candidates: Sequence[Sequence[Candidate]],
    rivals: Sequence[Value],
    pools: Sequence[Sequence[Value]],
    scored: Scored,
) -> float:
    """What `over_rivals` gives for the first candidates, from the scores of the pools."""
    gap = 0.0
    for of, rival, pool, means in zip(candidates, rivals, pools, scored.means, strict=True):
        if of[0].output != rival:
            gap += means[pool.index(of[0].output)] - means[pool.index(rival)]
    gap /= len(pools)
    return math.copysign(math.log1p(abs(gap)), gap)
