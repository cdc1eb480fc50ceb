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
from autottt.errors import ContextLengthError, StrategyError
from autottt.strategies.base import COMPARING_SECONDS, OVER_ICL, RunContext
from autottt.strategies.proposals import Proposal, expand, propose
from autottt.strategies.rivals import complete, preference, scored_together
from autottt.strategies.scoring import by_scores, deal, scores
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
        for dealt, switch in deal(views, members):
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

    Where it does score, a trained model scores rivals with the others, which spares reading the
    prompts once more: the evidence then has what `over_rivals` says and, by the tokens read, their
    share of the seconds.
    """

    judged: int = JUDGED
    suffix: ClassVar[str] = "+experts"  # of the name of a strategy that answers so instead

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        begin = time.monotonic()
        voted = super().answer(task, context, members)
        return self._judged(task, context, members, voted, time.monotonic() - begin)

    def _judged(
        self,
        task: Task,
        context: RunContext,
        members: Sequence[Member],
        voted: Answered,
        spent: float,
    ) -> Answered:
        """The choice among the answers of a vote that took `spent` seconds."""
        own = [[c.output for c in of[: self.judged]] for of in voted.candidates]
        if not any(len(outputs) > 1 for outputs in own):
            return _with_choice(voted)
        left = context.seconds_left()
        if left is not None and left < spent:  # scoring takes less
            return voted
        views, shown = self.views.draw(task, context.seed), self.views.shown
        rivals = complete(context.rivals) if members and all(own) else ()
        pools = scored_together(own, rivals)
        begin = time.monotonic()
        try:
            scored = scores(task, views, shown, pools, context, members)
        except ContextLengthError as error:  # what fits under one view is too long under another
            if rivals:
                return self._judged(task, replace(context, rivals=()), members, voted, spent)
            log.warning("task %s: its vote was not decided by experts: %s", task.id, error)
            return voted
        if scored is None:
            return voted
        seconds = time.monotonic() - begin
        ranked = tuple(
            (*by_scores(outputs, of[: len(outputs)], len(views)), *others[len(outputs) :])
            if len(outputs) > 1
            else others
            for outputs, of, others in zip(own, scored.means, voted.candidates, strict=True)
        )
        read = scored.tokens_of([len(outputs) if len(outputs) > 1 else 0 for outputs in own])
        judged = _with_choice(replace(voted, candidates=ranked, tokens=voted.tokens + read))
        if not rivals:
            return judged
        compared = {
            OVER_ICL: preference(ranked, rivals, pools, scored),
            COMPARING_SECONDS: seconds * (1 - read / scored.tokens),
        }
        return replace(judged, evidence={**judged.evidence, **compared})


@dataclass(frozen=True)
class Search:
    """Completions with a probability of at least `least` under some view, scored by all views.

    A candidate's score is its share of the product over views of the probabilities. The evidence
    is that of the vote of the views' likeliest completions, and of the choice itself. Where a
    deadline leaves no time to score, the highest probability under a view stands for it.
    """

    views: Views = ALL_VIEWS
    least: float = 0.09
    suffix: ClassVar[str] = "+search"  # of the name of a strategy that answers so instead

    def unavailable(self, task: Task) -> str | None:
        return None

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        views = self.views.draw(task, context.seed)
        found: list[Proposal] = []
        for dealt, switch in deal(views, members):
            switch()
            found += expand(task, dealt, context, self.least, shown=self.views.shown)
        found = _in_order(found, views)
        candidates = _candidates(found, len(task.queries))
        first = _first_of_each(found)
        answered = Answered(
            candidates=tuple(by_scores(list(of), list(of.values()), 1) for of in candidates),
            evidence={
                **evidence(first, len(task.queries)),
                "candidates": sum(map(len, candidates)) / len(candidates),
            },
            tokens=sum(p.tokens for p in found),
        )
        outputs = [list(of) for of in candidates]
        scored = scores(task, views, self.views.shown, outputs, context, members)
        if scored is None:
            return answered
        ranked = tuple(
            by_scores(some, of, len(views)) for some, of in zip(outputs, scored.means, strict=True)
        )
        tokens = answered.tokens + scored.tokens
        return _with_choice(replace(answered, candidates=ranked, tokens=tokens))


@dataclass(frozen=True)
class Choose(Search):
    """Every answer that a query may have, scored by all views: nothing is written.

    For tasks whose answers are limited: a choice, or the options that a question lists. Raises
    `StrategyError` where the deadline passes before all are scored.
    """

    suffix: ClassVar[str] = "+options"

    def unavailable(self, task: Task) -> str | None:
        if all(choices_of(task, query) for query in task.queries):
            return None
        return "its answers are not limited to options; it needs --choices, or options in the task"

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        views = self.views.draw(task, context.seed)
        candidates: list[list[Value]] = [list(choices_of(task, query)) for query in task.queries]
        scored = scores(task, views, self.views.shown, candidates, context, members)
        if scored is None:
            raise StrategyError(
                "the deadline passed before every option was scored; allow more seconds, or take a "
                "strategy that writes its answer"
            )
        ranked = tuple(
            by_scores(outputs, of, len(views))
            for outputs, of in zip(candidates, scored.means, strict=True)
        )
        first = [r[0] for r in ranked]
        return Answered(
            candidates=ranked,
            evidence={
                "vote_share": sum(c.score for c in first) / len(first),
                "sequence_logp": sum(c.log_probability for c in first) / len(first),
            },
            tokens=scored.tokens,
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
    an answer to a query, or the deadline no time.
    """
    others = complete(rivals)
    if not all(answered.candidates) or not others:
        return None
    pools = scored_together([[own[0].output] for own in answered.candidates], others)
    if not any(pools):
        return 0.0
    drawn = views.draw(task, context.seed)
    scored = scores(task, drawn, views.shown, pools, context, members)
    return None if scored is None else preference(answered.candidates, others, pools, scored)


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


def _in_order(proposals: list[Proposal], views: Sequence[View]) -> list[Proposal]:
    """As if one member had answered all views."""
    place = {view: i for i, view in reversed(list(enumerate(views)))}
    return sorted(proposals, key=lambda p: place[p.view])


def _candidates(found: Sequence[Proposal], queries: int) -> list[dict[Value, float]]:
    """The distinct outputs per query, the likeliest first, no more than are kept.

    With the highest log-probability that each was written with.
    """
    outputs = []
    for query in range(queries):
        best: dict[Value, float] = {}
        for p in found:
            if p.query == query and p.output is not None:
                best[p.output] = max(best.get(p.output, -math.inf), p.log_probability)
        kept = sorted(best, key=lambda o: -best[o])[: 2 * MAX_CANDIDATES]
        outputs.append({output: best[output] for output in kept})
    return outputs


def _first_of_each(found: Sequence[Proposal]) -> list[Proposal]:
    """Of every query under every view the likeliest completion."""
    first: dict[tuple[View, int], Proposal] = {}
    for proposal in found:
        first.setdefault((proposal.view, proposal.query), proposal)
    return list(first.values())
