"""What every view makes of every candidate, and the order in which that puts them.

The views are dealt out among the members, which are adapters of one task. Scoring stops for a
deadline; half of the scores say nothing, as no two candidates could be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autottt.adapters.tasks.formats import Shown
from autottt.adapters.tasks.views import View
from autottt.strategies.base import RunContext
from autottt.strategies.encoding import reply_tokens
from autottt.strategies.proposals import parts, place_prompts
from autottt.strategies.rivals import Scored
from autottt.strategies.vote import MAX_CANDIDATES
from autottt.types import Candidate, Task, Value

if TYPE_CHECKING:
    from autottt.strategies.answering import Member

AT_ONCE = 8  # prompts that are scored between two looks at the clock


def scores(
    task: Task,
    views: Sequence[View],
    shown: Shown,
    candidates: Sequence[Sequence[Value]],
    context: RunContext,
    members: Sequence[Member],
) -> Scored | None:
    """What every view makes of every candidate; None where the deadline passes before all have."""
    model = context.model
    sums = [[0.0] * len(of) for of in candidates]
    replies = [[0] * len(of) for of in candidates]
    counts, prompts = [0] * len(candidates), [0] * len(candidates)
    for dealt, switch in deal(views, members):
        switch()
        placed, _ = place_prompts(task, dealt, context, shown=shown)
        placed = [place for place in placed if candidates[place.query]]
        for some in parts(placed, shown, AT_ONCE):
            if context.seconds_left() == 0:
                return None
            answers = [
                [
                    reply_tokens(task, p.view.apply_output(c, task.queries[p.query]), model)
                    for c in candidates[p.query]
                ]
                for p in some
            ]
            found = model.score_answers([p.ids for p in some], answers)
            for place, own, of in zip(some, answers, found, strict=True):
                counts[place.query] += 1
                prompts[place.query] += len(place.ids)
                for i, (reply, score) in enumerate(zip(own, of, strict=True)):
                    replies[place.query][i] += len(reply)
                    sums[place.query][i] += score
    means = [[s / n for s in of] for of, n in zip(sums, counts, strict=True)]
    return Scored(means, replies, prompts)


def deal(views: Sequence[View], members: Sequence[Member]) -> list[tuple[Sequence[View], Member]]:
    """Every member's share of the views, as even as may be."""
    switches = list(members) or [lambda: None]
    shares = [(views[k :: len(switches)], switch) for k, switch in enumerate(switches)]
    return [(share, switch) for share, switch in shares if share]


def by_scores(
    outputs: Sequence[Value], means: Sequence[float], views: int
) -> tuple[Candidate, ...]:
    """By mean log-probability under the views; the score is the softmax of their sum over views."""
    if not outputs:
        return ()
    best = max(means)
    weights = [math.exp(views * (score - best)) for score in means]
    total = math.fsum(weights)
    found = [Candidate(o, w / total, s) for o, w, s in zip(outputs, weights, means, strict=True)]
    found.sort(key=lambda c: c.log_probability, reverse=True)
    return tuple(found[:MAX_CANDIDATES])
