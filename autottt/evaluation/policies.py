"""The policies that are compared: what each answers on every task, and at what cost.

Every arm was run once on every task, so a policy's result is what it would have been. Fixed arms
pay for themselves alone; whatever looks at the probe first pays for the probe.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from autottt.controller.difficulty import (
    ICL_RIGHT,
    LOOK_SECONDS,
    Gate,
    looks,
)
from autottt.controller.outcomes import ICL_ARMS, ICL_VOTE, Outcome
from autottt.controller.policy import Policy, best_in_hand, decide, verdict
from autottt.controller.probe import PROBE_SECONDS
from autottt.evaluation.table import Array, Table

PRICES = tuple(float(p) for p in [0, *np.geomspace(1e-4, 1.0, 40)])  # of the gate's curve


@dataclass(frozen=True)
class Played:
    """What a policy does on a table's tasks: expected accuracy and seconds of each.

    `confidence` is its own P(right), where it has one; `answers` are the arms that answered;
    `overheads` are the seconds that deciding took, as measured here; `ran` are the arms that ran to
    their end and `given_up` those that did not, task by task.
    """

    name: str
    right: Array  # (tasks,)
    seconds: Array  # (tasks,)
    confidence: Array | None = None
    answers: tuple[str, ...] = field(default=(), repr=False)
    overheads: Array | None = None
    ran: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    given_up: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def mean_seconds(self) -> float:
        return float(self.seconds.mean())


def always(table: Table, arm: str) -> Played:
    """One arm on every task."""
    right, seconds = table.of(arm)
    return Played(arm, right, seconds, answers=(arm,) * len(right))


def oracle(table: Table, price: float | None = None) -> Played:
    """Per task the cheapest right arm; with a price the arm of the highest utility."""
    if price is None:
        order = np.lexsort((table.seconds, -table.right), axis=1)[:, 0]
        name = "oracle"
    else:
        order = np.argmax(table.right - price * table.seconds, axis=1)
        name = "oracle by utility"
    rows = np.arange(len(order))
    return Played(
        name,
        table.right[rows, order],
        table.seconds[rows, order],
        answers=tuple(table.arms[k] for k in order),
    )


def random_mix(table: Table, seconds: float) -> Played:
    """Fixed arms mixed at random so that they cost as much on average; expected accuracy.

    The two arms are those on the hull of fixed arms that the cost lies between.
    """
    from autottt.evaluation.statistics import hull

    points = {(p.mean_seconds, p.accuracy): p for p in (always(table, a) for a in table.arms)}
    edges = [points[point] for point in hull(list(points))]
    cheap, dear = edges[0], edges[-1]
    for one, other in pairwise(edges):
        if one.mean_seconds <= seconds <= other.mean_seconds:
            cheap, dear = one, other
    if seconds <= edges[0].mean_seconds:
        dear = cheap
    if seconds >= edges[-1].mean_seconds:
        cheap = dear
    gap = dear.mean_seconds - cheap.mean_seconds
    share = 0.0 if gap <= 0 else (seconds - cheap.mean_seconds) / gap
    return Played(
        "random at matched cost",
        (1 - share) * cheap.right + share * dear.right,
        (1 - share) * cheap.seconds + share * dear.seconds,
    )


def sequential(
    outcomes: Sequence[Outcome],
    gate: Gate | None,
    policy: Policy,
    *,
    arms: Sequence[str] | None = None,
) -> Played:
    """The controller, escalating step by step, as the state machine would."""
    return _collected("controller", [play(outcome, gate, policy, arms) for outcome in outcomes])


def one_shot(outcomes: Sequence[Outcome], gate: Gate, policy: Policy) -> Played:
    """The gate asked once, after the probe; the arm of the highest utility answers."""
    found = []
    for outcome in outcomes:
        begin = time.perf_counter()
        arms = [arm for arm in gate.arms if arm in outcome.arms]
        chosen = decide(policy, gate, outcome.features, tried={}, arms=arms).chosen
        p = gate.probability(ICL_RIGHT, outcome.features)
        spent = time.perf_counter() - begin
        ran = outcome.arms[chosen]
        seconds = probe_seconds(outcome) + (0.0 if chosen == ICL_VOTE else ran.seconds)
        if chosen != ICL_VOTE:
            p += (1 - p) * gate.mends(chosen, outcome.features, {})
        answer = ICL_VOTE if ran.error is not None else chosen
        found.append(Course(answer, seconds, p, outcome, spent))
    return _collected("one-shot gate", found)


@dataclass(frozen=True)
class Threshold:
    """Train with `arm` where `sign * feature < sign * limit`; a missing value trains."""

    feature: str
    limit: float
    sign: int
    arm: str


def fit_threshold(outcomes: Sequence[Outcome], policy: Policy) -> Threshold:
    """The single-feature rule with the highest mean utility on an outcome log."""
    arms = [a for a in outcomes[0].arms if a not in ICL_ARMS and all(a in o.arms for o in outcomes)]
    vote = np.array([_utility(o, ICL_VOTE, policy) for o in outcomes])
    best, rule = -np.inf, Threshold("vote_share", 0.0, 1, ICL_VOTE)
    names = sorted({name for o in outcomes for name in o.features})
    for arm in arms:
        other = np.array([_utility(o, arm, policy) for o in outcomes])
        for name in names:
            value = np.array([o.features.get(name, np.nan) for o in outcomes])
            known = value[np.isfinite(value)]
            for limit in np.unique(np.quantile(known, np.linspace(0, 1, 41))) if len(known) else ():
                for sign in (1, -1):
                    train = ~(sign * value >= sign * limit)
                    utility = float(np.where(train, other, vote).mean())
                    if utility > best:
                        best, rule = utility, Threshold(name, float(limit), sign, arm)
    return rule


def by_threshold(outcomes: Sequence[Outcome], rule: Threshold) -> Played:
    """Route every task by one feature of the probe."""
    found = []
    for outcome in outcomes:
        value = outcome.features.get(rule.feature, np.nan)
        train = rule.arm in outcome.arms and not rule.sign * value >= rule.sign * rule.limit
        arm = rule.arm if train else ICL_VOTE
        seconds = probe_seconds(outcome) + (outcome.arms[arm].seconds if train else 0.0)
        answer = ICL_VOTE if outcome.arms[arm].error is not None else arm
        found.append(Course(answer, seconds, float("nan"), outcome, 0.0))
    return replace(_collected("best single feature", found), confidence=None)


def curve(outcomes: Sequence[Outcome], gate: Gate, policy: Policy) -> list[tuple[float, Played]]:
    """The controller at every price of `PRICES`, with the price."""
    return [(p, sequential(outcomes, gate, replace(policy, price=p))) for p in PRICES]


@dataclass(frozen=True)
class Course:
    """How the controller went about one task: the arm that answers, the cost, and what it ran."""

    answer: str
    seconds: float
    confidence: float
    outcome: Outcome
    overhead: float
    ran: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return self.outcome.arms[self.answer].right


def play(
    outcome: Outcome, gate: Gate | None, policy: Policy, arms: Sequence[str] | None = None
) -> Course:
    """What the controller does on a task: as the state machine would, from what was logged.

    `arms` are the training arms on offer, by default those of the log. An attempt that is
    abandoned costs the seconds until then. A deadline is not replayed.
    """
    if arms is None:
        arms = [arm for arm in outcome.arms if arm not in ICL_ARMS]
    run, seconds, overhead = [ICL_VOTE], probe_seconds(outcome), 0.0
    failed: dict[str, str] = {}
    given_up: list[str] = []
    while True:
        tried = {arm: outcome.arms[arm].evidence for arm in run if arm not in failed}
        begin = time.perf_counter()
        decision = decide(
            policy, gate, outcome.features, tried=tried, arms=arms, unavailable=failed
        )
        overhead += time.perf_counter() - begin
        arm = decision.chosen
        if arm in run:
            _, sure = best_in_hand(gate, outcome.features, tried)
            return Course(arm, seconds, sure, outcome, overhead, tuple(tried), tuple(given_up))
        run.append(arm)
        done = outcome.arms[arm]
        spent, ended = done.compared_seconds, None
        for look in looks(done.evidence) if done.error is None else ():
            begin = time.perf_counter()
            ended = verdict(policy, gate, outcome.features, tried=tried, arm=arm, look=look)
            overhead += time.perf_counter() - begin
            if ended is not None:
                spent = look[LOOK_SECONDS]
                given_up.append(arm)
                break
        seconds += spent
        why = done.error or ended
        if why is not None:
            failed[arm] = why


def probe_seconds(outcome: Outcome) -> float:
    """What the vote and the scoring of the held-out demonstrations took together."""
    vote = outcome.arms[ICL_VOTE]
    return vote.evidence.get(PROBE_SECONDS, vote.seconds)


def _collected(name: str, courses: Sequence[Course]) -> Played:
    return Played(
        name,
        np.array([c.right for c in courses], dtype=np.float64),
        np.array([c.seconds for c in courses]),
        np.array([c.confidence for c in courses]),
        tuple(c.answer for c in courses),
        np.array([c.overhead for c in courses]),
        tuple(c.ran for c in courses),
        tuple(c.given_up for c in courses),
    )


def _utility(outcome: Outcome, arm: str, policy: Policy) -> float:
    ran = outcome.arms[arm]
    seconds = probe_seconds(outcome) + (0.0 if arm == ICL_VOTE else ran.seconds)
    right = outcome.arms[ICL_VOTE].right if ran.error is not None else ran.right
    return float(right) - policy.price * seconds
