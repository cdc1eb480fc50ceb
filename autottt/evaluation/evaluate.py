"""Policies compared on a log: who is right at what cost, and how good the estimates are.

`evaluate` turns a table, and where there are outcomes and a gate also the controller, into plain
numbers; `html_report` shows them. With several seeds in a log, tasks are pooled, intervals are over
groups, and the accuracy of each seed is given too; the same tasks under two seeds tell luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from autottt.controller.difficulty import Gate
from autottt.controller.outcomes import ICL_ARMS, ICL_VOTE, Outcome
from autottt.controller.policy import Policy
from autottt.errors import InputError
from autottt.evaluation.calibrate import regrouped
from autottt.evaluation.heads_report import judge_heads
from autottt.evaluation.policies import (
    Played,
    always,
    by_threshold,
    curve,
    fit_threshold,
    one_shot,
    oracle,
    random_mix,
    sequential,
)
from autottt.evaluation.repeats import repeats
from autottt.evaluation.statistics import (
    Point,
    cost_to_reach,
    frontier,
    mcnemar,
    mean_height,
    paired,
    rejection_ratio,
)
from autottt.evaluation.table import Table, from_outcomes
from autottt.types import JSON

SHARES = (0.5, 0.8, 0.95, 1.0)  # of the best fixed arm's gain, for the cost to reach them


def evaluate(
    outcomes: Sequence[Outcome],
    gate: Gate | None,
    policy: Policy,
    *,
    fitted_on: Sequence[Outcome] = (),
) -> JSON:
    """Every number of the report for an outcome log.

    `fitted_on` is a log of other tasks, on which the single-feature rule is chosen. Where all tasks
    are of one group, each is its own. Raises `InputError` for a log that is empty, uneven, or
    without icl-vote.
    """
    outcomes = regrouped(outcomes)
    table = from_outcomes(outcomes)
    if ICL_VOTE not in table.arms:
        raise InputError(f"the log has no {ICL_VOTE}, from which the controller starts")
    auto = sequential(outcomes, gate, policy)
    players = [random_mix(table, auto.mean_seconds)]
    points: list[tuple[float, Played]] = []
    if gate is not None:
        players.append(one_shot(outcomes, gate, policy))
        points = curve(outcomes, gate, policy)
    rule = None
    if fitted_on:
        rule = fit_threshold(fitted_on, policy)
        players.append(by_threshold(outcomes, rule))
    found = compare(table, ICL_VOTE, policy.price, [*players, auto], [p for _, p in points])
    assert auto.confidence is not None
    assert auto.overheads is not None
    found["rule"] = None if rule is None else asdict(rule)
    found["curve"] = [
        {"price": price, "accuracy": p.accuracy, "seconds": p.mean_seconds} for price, p in points
    ]
    found["heads"] = {} if gate is None else judge_heads(outcomes, gate)
    found["two_by_two"] = {arm: two_by_two(table, arm) for arm in table.arms if arm not in ICL_ARMS}
    found["controller"] = {
        "answers": {arm: auto.answers.count(arm) for arm in sorted(set(auto.answers))},
        "given_up": {
            "trainings": sum(map(len, auto.given_up)),
            "of": sum(map(len, auto.given_up)) + sum(len(ran) - 1 for ran in auto.ran),
            "right": sum(
                arm in _right_arms(table, place)
                for place, left in enumerate(auto.given_up)
                for arm in left
            ),
        },
        "prr": rejection_ratio(auto.confidence, auto.right),
        "overhead_p50": float(np.quantile(auto.overheads, 0.5)),
        "overhead_p95": float(np.quantile(auto.overheads, 0.95)),
        "overhead_share": float(auto.overheads.sum() / auto.seconds.sum()),
        "lost": [
            {
                "task": task,
                "answered_with": answer,
                "right_with": _right_arms(table, place),
                "ran": list(auto.ran[place]),
            }
            for place, (task, answer) in enumerate(zip(table.tasks, auto.answers, strict=True))
            if not auto.right[place] and _right_arms(table, place)
        ],
    }
    return found


def evaluate_table(table: Table, base: str, price: float) -> JSON:
    """The same for others' results, where there are no features and so no controller."""
    found = compare(table, base, price, [], [])
    helped = {
        arm: {
            "helps": float((table.of(arm)[0] > table.of(base)[0]).mean()),
            "hurts": float((table.of(arm)[0] < table.of(base)[0]).mean()),
            "equal": float((table.of(arm)[0] == table.of(base)[0]).mean()),
        }
        for arm in table.arms
        if arm != base
    }
    return {**found, "against_base": helped}


def compare(
    table: Table, base: str, price: float, players: Sequence[Played], swept: Sequence[Played]
) -> JSON:
    """Policies side by side; the last of `players` is the one that the others are held against.

    `swept` are the same controller at several prices.
    """
    fixed = [always(table, arm) for arm in table.arms]
    best = max(fixed, key=lambda p: (p.accuracy, -p.mean_seconds))
    utility = oracle(table, price)
    ceiling = oracle(table)
    held = players[-1] if players else best
    before = next(p for p in fixed if p.name == base)
    costs = [p.mean_seconds for p in fixed]
    fixed_points = [_point(p) for p in fixed]
    swept_points = [_point(p) for p in swept]
    gain = best.accuracy - before.accuracy
    return {
        "tasks": len(table.tasks),
        "groups": len(set(table.groups)),
        "seeds": sorted(set(table.seeds)),
        "base": base,
        "price": price,
        "best_fixed": best.name,
        "held_against": held.name,
        "policies": [_row(p, held, table, price) for p in [*fixed, *players, utility, ceiling]],
        "frontier": frontier([*fixed_points, *swept_points]),
        "mean_height": {
            "from": min(costs),
            "to": max(costs),
            "fixed": mean_height(fixed_points, min(costs), max(costs)),
            "controller": mean_height(swept_points, min(costs), max(costs)) if swept else None,
        },
        "cost_to_reach": [
            {
                "share_of_best_gain": share,
                "accuracy": before.accuracy + share * gain,
                "fixed": cost_to_reach(fixed_points, before.accuracy + share * gain),
                "controller": cost_to_reach(swept_points, before.accuracy + share * gain),
            }
            for share in SHARES
        ],
        "oracle_gain_recovered": _ratio(
            held.accuracy - before.accuracy, ceiling.accuracy - before.accuracy
        ),
        "seconds_of_best_fixed": _ratio(held.mean_seconds, best.mean_seconds),
        "repeats": repeats(table, base),
    }


def two_by_two(table: Table, arm: str) -> dict[str, list[str]]:
    """The ids of the tasks that the vote and the arm have right: both, one of them, neither."""
    found: dict[str, list[str]] = {"both": [], "fixed": [], "broken": [], "neither": []}
    for task, vote, other in zip(table.tasks, table.of(ICL_VOTE)[0], table.of(arm)[0], strict=True):
        kind = ("both" if other else "broken") if vote else ("fixed" if other else "neither")
        found[kind].append(task)
    return found


def _row(played: Played, held: Played, table: Table, price: float) -> JSON:
    gap = paired(held.right - played.right, table.groups)
    spent = paired(held.seconds - played.seconds, table.groups)
    whole = np.isin(np.concatenate([held.right, played.right]), (0.0, 1.0)).all()
    once = len(set(table.tasks)) == len(table.tasks)  # and not under several seeds
    seeds = np.array(table.seeds)
    return {
        "policy": played.name,
        "accuracy": played.accuracy,
        "by_seed": [float(played.right[seeds == seed].mean()) for seed in sorted(set(table.seeds))],
        "seconds": played.mean_seconds,
        "utility": played.accuracy - price * played.mean_seconds,
        "held_minus_this": asdict(gap),
        "seconds_held_minus_this": asdict(spent),
        "mcnemar_p": mcnemar(held.right, played.right) if whole and once else None,
    }


def _right_arms(table: Table, place: int) -> list[str]:
    return [arm for k, arm in enumerate(table.arms) if table.right[place, k] == 1.0]


def _point(played: Played) -> Point:
    return played.mean_seconds, played.accuracy


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
