"""How a model, trained or not, answers: candidates from views, then a choice among them.

`Vote` decodes every view greedily and counts (self-consistency). `Experts` lets all views score the
answers with most votes (product of experts: the ARChitects, 2024), `Search` every completion above
a probability, `Choose` every answer that there may be. Training strategies hand over
`members`, one or several adapters, and the views are dealt out among them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from autottt.adapters.tasks.answers import choices_of
from autottt.adapters.tasks.formats import Shown
from autottt.adapters.tasks.views import View, draw_views, keep_colours
from autottt.errors import ContextLengthError
from autottt.strategies.base import RunContext
from autottt.strategies.encoding import reply_tokens
from autottt.strategies.proposals import Proposal, expand, place_prompts, propose
from autottt.strategies.vote import MAX_CANDIDATES, UNANSWERED_LOGP, evidence, rank_all
from autottt.types import Candidate, Task, Value

log = logging.getLogger(__name__)
VIEWS = 8
JUDGED = 3  # answers that all views score, those with most votes
Member = Callable[[], None]  # makes the model answer with one adapter


@dataclass(frozen=True)
class Answered:
    """Candidates per query (best first), the evidence of them, and tokens read and written."""

    candidates: tuple[tuple[Candidate, ...], ...]
    evidence: dict[str, float]
    tokens: int


class Answering(Protocol):
    """A way to answer every query of a task."""

    def unavailable(self, task: Task) -> str | None:
        """Why it cannot answer this task, or None."""

    def answer(
        self, task: Task, context: RunContext, members: Sequence[Member] = ()
    ) -> Answered: ...


@dataclass(frozen=True)
class Views:
    """Which views are asked: how many, and where they show the demonstrations.

    Where they show them nowhere, nothing tells what the colours of a view stand for, so those are
    kept.
    """

    count: int = VIEWS
    shown: Shown = "prompt"

    def draw(self, task: Task, seed: int) -> list[View]:
        views = draw_views(task, self.count, np.random.default_rng(seed))
        kept = self.shown != "nowhere"
        return views if kept else list(dict.fromkeys(keep_colours(view) for view in views))


ALL_VIEWS = Views()


@dataclass(frozen=True)
class Vote:
    """Greedy decoding of every view; the most frequent answer wins."""

    views: Views = ALL_VIEWS

    def unavailable(self, task: Task) -> str | None:
        return None

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        views = self.views.draw(task, context.seed)
        proposals = []
        for dealt, switch in _deal(views, members):
            switch()
            proposals += propose(task, dealt, context, shown=self.views.shown)
        proposals = _in_order(proposals, views)
        return Answered(
            candidates=rank_all(proposals, len(task.queries)),
            evidence=evidence(proposals, len(task.queries)),
            tokens=sum(p.tokens for p in proposals),
        )


@dataclass(frozen=True)
class Experts(Vote):
    """The `judged` answers with most votes, scored by all views; the others follow.

    A judged candidate's score is its share of the product over views of the probabilities. Where
    there is one answer there is nothing to score. The evidence is that of the vote and, where the
    scoring was done, of the choice: `experts_share` (0-1; 1 for the only answer) and `experts_logp`
    (nats, <= 0), the score of the answer given and the mean over views (those that wrote it, for
    the only answer) of its log-probability, each the mean over queries.
    """

    judged: int = JUDGED
    suffix: ClassVar[str] = "+experts"  # of the name of a strategy that answers so instead

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        views, shown = self.views.draw(task, context.seed), self.views.shown
        begin = time.monotonic()
        voted = super().answer(task, context, members)
        left, spent = context.seconds_left(), time.monotonic() - begin
        candidates = [
            [c.output for c in of[: self.judged]] if len(of) > 1 else [] for of in voted.candidates
        ]
        if not any(candidates):
            return _with_choice(voted)
        if left is not None and left < spent:  # scoring takes less
            return voted
        try:
            scores, read = _scores(task, views, shown, candidates, context, members)
        except ContextLengthError as error:  # what fits under one view is too long under another
            log.warning("task %s: its vote was not decided by experts: %s", task.id, error)
            return voted
        ranked = tuple(
            (*_ranked(outputs, of, len(views)), *others[len(outputs) :])
            for outputs, of, others in zip(candidates, scores, voted.candidates, strict=True)
        )
        return _with_choice(replace(voted, candidates=ranked, tokens=voted.tokens + read))


@dataclass(frozen=True)
class Search:
    """Completions with a probability of at least `least` under some view, scored by all views.

    A candidate's score is its share of the product over views of the probabilities. The evidence
    is that of the vote of the views' likeliest completions, and of the choice itself.
    """

    views: Views = ALL_VIEWS
    least: float = 0.09
    suffix: ClassVar[str] = "+search"  # of the name of a strategy that answers so instead

    def unavailable(self, task: Task) -> str | None:
        return None

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        views = self.views.draw(task, context.seed)
        found: list[Proposal] = []
        for dealt, switch in _deal(views, members):
            switch()
            found += expand(task, dealt, context, self.least, shown=self.views.shown)
        found = _in_order(found, views)
        candidates = _candidates(found, len(task.queries))
        scores, read = _scores(task, views, self.views.shown, candidates, context, members)
        ranked = tuple(
            _ranked(outputs, of, len(views)) for outputs, of in zip(candidates, scores, strict=True)
        )
        first = _first_of_each(found)
        return _with_choice(
            Answered(
                candidates=ranked,
                evidence={
                    **evidence(first, len(task.queries)),
                    "candidates": sum(map(len, candidates)) / len(candidates),
                },
                tokens=sum(p.tokens for p in found) + read,
            )
        )


@dataclass(frozen=True)
class Choose(Search):
    """Every answer that a query may have, scored by all views: nothing is written.

    For tasks whose answers are limited: a choice, or the options that a question lists.
    """

    suffix: ClassVar[str] = "+options"

    def unavailable(self, task: Task) -> str | None:
        if all(choices_of(task, query) for query in task.queries):
            return None
        return "its answers are not limited to options; it needs answers of the kind choice"

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        views = self.views.draw(task, context.seed)
        candidates: list[list[Value]] = [list(choices_of(task, query)) for query in task.queries]
        scores, read = _scores(task, views, self.views.shown, candidates, context, members)
        ranked = tuple(
            _ranked(outputs, of, len(views)) for outputs, of in zip(candidates, scores, strict=True)
        )
        first = [r[0] for r in ranked]
        return Answered(
            candidates=ranked,
            evidence={
                "vote_share": sum(c.score for c in first) / len(first),
                "sequence_logp": sum(c.log_probability for c in first) / len(first),
            },
            tokens=read,
        )


def over_rivals(
    task: Task,
    answered: Answered,
    rivals: Sequence[Value | None],
    context: RunContext,
    members: Sequence[Member],
    views: Views,
) -> float | None:
    """How much more probable the adapted model finds its own answers than others' (`rivals`).

    The mean over queries of the difference d (nats) in mean log-probability under the views, zero
    where both are the same; as sign(d) log(1 + |d|), as d has long tails. None where either lacks
    an answer to a query.
    """
    if not all(answered.candidates) or None in rivals:
        return None
    winners = [own[0].output for own in answered.candidates]
    pairs = [
        [] if own == rival else [own, rival] for own, rival in zip(winners, rivals, strict=True)
    ]
    if not any(pairs):
        return 0.0
    drawn = views.draw(task, context.seed)
    scores, _ = _scores(task, drawn, views.shown, pairs, context, members)  # type: ignore[arg-type]
    gap = sum(of[0] - of[1] for of in scores if of) / len(pairs)
    return math.copysign(math.log1p(abs(gap)), gap)


def _scores(
    task: Task,
    views: Sequence[View],
    shown: Shown,
    candidates: Sequence[Sequence[Value]],
    context: RunContext,
    members: Sequence[Member],
) -> tuple[list[list[float]], int]:
    """For every candidate the mean over views of its log-probability, and the tokens read."""
    model = context.model
    sums = [[0.0] * len(of) for of in candidates]
    counts, read = [0] * len(candidates), 0
    for dealt, switch in _deal(views, members):
        switch()
        placed, _ = place_prompts(task, dealt, context, shown=shown)
        placed = [place for place in placed if candidates[place.query]]
        answers = [
            [
                reply_tokens(task, p.view.apply_output(c, task.queries[p.query]), model)
                for c in candidates[p.query]
            ]
            for p in placed
        ]
        for place, some, scores in zip(
            placed,
            answers,
            model.score_answers([p.ids for p in placed], answers),
            strict=True,
        ):
            counts[place.query] += 1
            read += len(place.ids) + sum(map(len, some))
            for i, score in enumerate(scores):
                sums[place.query][i] += score
    means = [[s / n for s in of] for of, n in zip(sums, counts, strict=True)]
    return means, read


def _with_choice(answered: Answered) -> Answered:
    """With what the views think of the answers given, in the evidence."""
    every = answered.candidates
    shares = [of[0].score if len(of) > 1 else float(len(of)) for of in every]
    logps = [of[0].log_probability if of else UNANSWERED_LOGP for of in every]
    choice = {
        "experts_share": sum(shares) / len(every),
        "experts_logp": sum(logps) / len(every),
    }
    return replace(answered, evidence={**answered.evidence, **choice})


def _deal(views: Sequence[View], members: Sequence[Member]) -> list[tuple[Sequence[View], Member]]:
    """Every member's share of the views, as even as may be."""
    switches = list(members) or [lambda: None]
    shares = [(views[k :: len(switches)], switch) for k, switch in enumerate(switches)]
    return [(share, switch) for share, switch in shares if share]


def _in_order(proposals: list[Proposal], views: Sequence[View]) -> list[Proposal]:
    """As if one member had answered all views."""
    place = {view: i for i, view in reversed(list(enumerate(views)))}
    return sorted(proposals, key=lambda p: place[p.view])


def _candidates(found: Sequence[Proposal], queries: int) -> list[list[Value]]:
    """The distinct outputs per query, the likeliest first, no more than are kept."""
    outputs = []
    for query in range(queries):
        best: dict[Value, float] = {}
        for p in found:
            if p.query == query and p.output is not None:
                best[p.output] = max(best.get(p.output, -math.inf), p.log_probability)
        outputs.append(sorted(best, key=lambda o: -best[o])[: 2 * MAX_CANDIDATES])
    return outputs


def _ranked(outputs: Sequence[Value], scores: Sequence[float], views: int) -> tuple[Candidate, ...]:
    """By mean log-probability under the views; the score is the softmax of their sum over views."""
    if not outputs:
        return ()
    best = max(scores)
    weights = [math.exp(views * (score - best)) for score in scores]
    total = math.fsum(weights)
    ranked = [Candidate(o, w / total, s) for o, w, s in zip(outputs, weights, scores, strict=True)]
    ranked.sort(key=lambda c: c.log_probability, reverse=True)
    return tuple(ranked[:MAX_CANDIDATES])


def _first_of_each(found: Sequence[Proposal]) -> list[Proposal]:
    """Of every query under every view the likeliest completion."""
    first: dict[tuple[View, int], Proposal] = {}
    for proposal in found:
        first.setdefault((proposal.view, proposal.query), proposal)
    return list(first.values())
