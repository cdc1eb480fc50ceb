"""Augmented self-consistency: the answer that most views agree on, and how much they agree.

Each view proposes one answer; candidates are ranked by votes, ties by the mean log-probability of
the views that proposed them (Akyürek et al., 2025, section 3.3, with one proposal a view).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from autottt.strategies.proposals import Proposal
from autottt.types import Candidate, Value

MAX_CANDIDATES = 8
UNANSWERED_LOGP = -50.0  # nats, in the evidence of a query without an answer


def rank(proposals: Iterable[Proposal]) -> tuple[Candidate, ...]:
    """The distinct answers to one query, best first; empty where no view gave an output."""
    votes: dict[Value, list[float]] = defaultdict(list)
    total = 0
    for proposal in proposals:
        total += 1
        if proposal.output is not None:
            votes[proposal.output].append(proposal.log_probability)
    candidates = [
        Candidate(output, len(scores) / total, sum(scores) / len(scores))
        for output, scores in votes.items()
    ]
    candidates.sort(key=lambda c: (c.score, c.log_probability), reverse=True)
    return tuple(candidates[:MAX_CANDIDATES])


def rank_all(proposals: Sequence[Proposal], queries: int) -> tuple[tuple[Candidate, ...], ...]:
    """`rank` for each query of a task."""
    return tuple(rank(p for p in proposals if p.query == query) for query in range(queries))


def evidence(proposals: Sequence[Proposal], queries: int) -> dict[str, float]:
    """Confidence and consistency of an attempt, each the mean over the task's queries.

    `vote_share` (0-1) share of views that agree with the winner; `vote_entropy` (0-1) entropy of
    the votes over its maximum; `valid_share` (0-1) views that gave an output; `identity_agrees` (0
    or 1) the plain view gave the winner; `sequence_logp` (nats, <= 0) mean log-probability of the
    views that voted for the winner; `mean_logp`, `min_logp` (nats), `margin` (nats) and `entropy`
    (nats): mean over views of the mean or minimum over tokens.
    """
    rows = [_one([p for p in proposals if p.query == query]) for query in range(queries)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _one(proposals: Sequence[Proposal]) -> dict[str, float]:
    ranked = rank(proposals)
    shares = [c.score for c in ranked]
    missing = 1.0 - sum(shares)
    if missing > 1e-9:
        shares.append(missing)
    spread = -sum(s * math.log(s) for s in shares)
    written = [p.completion for p in proposals if p.completion.log_probabilities]
    return {
        "vote_share": ranked[0].score if ranked else 0.0,
        "vote_entropy": spread / math.log(max(2, len(proposals))),
        "valid_share": sum(p.output is not None for p in proposals) / len(proposals),
        "identity_agrees": float(bool(ranked) and proposals[0].output == ranked[0].output),
        "sequence_logp": ranked[0].log_probability if ranked else UNANSWERED_LOGP,
        "mean_logp": _mean(_mean(c.log_probabilities) for c in written),
        "min_logp": _mean(min(c.log_probabilities) for c in written),
        "margin": _mean(_mean(c.margins) for c in written),
        "entropy": _mean(_mean(c.entropies) for c in written),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
