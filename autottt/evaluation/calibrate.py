"""From outcome logs to a gate: the heads, what each price buys, and the table for certificates."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import lsq_linear
from sklearn.model_selection import GroupKFold

from autottt.controller.certificate import RiskTable
from autottt.controller.difficulty import READ, Gate, Worth, fit_gate
from autottt.controller.fitting import FOLDS
from autottt.controller.outcomes import ICL_VOTE, Outcome
from autottt.controller.policy import Policy, best_in_hand
from autottt.errors import GateError
from autottt.evaluation.policies import PRICES, play, sequential

log = logging.getLogger(__name__)
CERTIFY = 3  # tenths of the groups that are kept for certifying
THRESHOLDS = tuple(float(x) for x in np.linspace(0, 0.6, 61))


def split(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Outcomes to fit on and to certify on, groups kept whole: the same split whenever asked."""
    return (
        [o for o in outcomes if not certifies(o.group)],
        [o for o in outcomes if certifies(o.group)],
    )


def regrouped(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """With each task a group of its own, where all are of one group."""
    if len({outcome.group for outcome in outcomes}) > 1:
        return list(outcomes)
    return [replace(outcome, group=outcome.task_id) for outcome in outcomes]


def certifies(group: str) -> bool:
    """Whether the tasks of a group are kept for certifying."""
    return zlib.crc32(group.encode()) % 10 < CERTIFY


def calibrated(
    outcomes: Sequence[Outcome],
    *,
    certify: Sequence[Outcome] = (),
    arms: Sequence[str] | None = None,
    seed: int = 0,
) -> Gate:
    """A gate fitted on `outcomes`, with prices from families left out.

    `certify` are tasks of other families that nothing was fitted to; without them no risk level can
    be certified. Raises `GateError` for logs of several models, and for families in both logs.
    """
    models = {outcome.model for outcome in outcomes}
    if models and not {outcome.model for outcome in certify} <= models:
        raise GateError("the log to certify on is of another model than the log to fit on")
    shared = {o.group for o in outcomes} & {o.group for o in certify}
    if shared:
        raise GateError(
            f"{len(shared)} families are in both logs (such as {min(shared)}); certify on families "
            "that nothing was fitted to"
        )
    both = {o.task_id for o in outcomes} & {o.task_id for o in certify}
    if both:
        raise GateError(
            f"{len(both)} tasks are in both logs (such as {min(both)}); certify on tasks that "
            "nothing was fitted to"
        )
    gate = fit_gate(outcomes, arms=arms, read=READ, seed=seed)
    usable = [o for o in outcomes if ICL_VOTE in o.arms and set(gate.arms) <= set(o.arms)]
    if not usable:
        log.warning(
            "no task was run with all of %s, so the gate knows neither what prices cost nor what "
            "choosing among answers realises",
            ", ".join((ICL_VOTE, *gate.arms)),
        )
    parts = left_out(usable, gate.arms, seed=seed)
    gate = replace(gate, worth=worth(parts))
    risk = risk_table(certify, gate) if certify else None
    return replace(gate, prices=prices(parts, gate), risk=risk)


def left_out(
    outcomes: Sequence[Outcome], arms: Sequence[str], *, seed: int = 0
) -> list[tuple[Gate, list[Outcome]]]:
    """Gates fitted without some families, each with the outcomes of those families."""
    groups = [outcome.group for outcome in outcomes]
    folds = min(FOLDS, len(set(groups)))
    if folds < 2:
        return []
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    found = []
    for train, test in splitter.split(groups, groups, groups):
        gate = fit_gate([outcomes[k] for k in train], arms=arms, read=READ, seed=seed)
        found.append((gate, [outcomes[k] for k in test]))
    return found


Parts = Sequence[tuple[Gate, Sequence[Outcome]]]  # gates with outcomes that they do not know


def worth(parts: Parts) -> dict[str, tuple[Worth, Worth]]:
    """Per arm what of the promised gain is realised: trained first, and after others.

    By least squares over the tasks that a gate was not fitted to: promised is what the gate says
    before the arm runs, realised how much more often the answer that it then chooses is right.
    Choosing is not perfect, arms are right on the same tasks, and break what was right.
    """
    found: dict[str, tuple[Worth, Worth]] = {}
    for arm in parts[0][0].arms if parts else ():
        pairs: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        for gate, outcomes in parts:
            others = [other for other in gate.arms if other != arm]
            for outcome in outcomes:
                for before in ([], *([other] for other in others)):
                    pairs[bool(before)].append(_promised_and_realised(outcome, gate, arm, before))
        first, later = (_line(some) for some in pairs)
        found[arm] = first, later
    return found


def _promised_and_realised(
    outcome: Outcome, gate: Gate, arm: str, before: Sequence[str]
) -> tuple[float, float]:
    def in_hand(arms: Sequence[str]) -> tuple[float, float, dict[str, dict[str, float]]]:
        ran = [a for a in arms if outcome.arms[a].error is None]
        tried = {a: outcome.arms[a].evidence for a in (ICL_VOTE, *ran)}
        chosen, p = best_in_hand(gate, outcome.features, tried)
        return float(outcome.arms[chosen].right), p, tried

    right, p, tried = in_hand(before)
    promised = (1 - p) * gate.mends(arm, outcome.features, tried)
    return promised, in_hand([*before, arm])[0] - right


def _line(pairs: Sequence[tuple[float, float]]) -> Worth:
    """`realised = share * promised - loss`, both in [0, 1]; all where nothing was promised."""
    if not any(promised for promised, _ in pairs):
        return Worth()
    promised, realised = np.array(pairs).T
    columns = np.stack([promised, -np.ones_like(promised)], axis=1)
    share, loss = lsq_linear(columns, realised, bounds=(0.0, 1.0)).x
    return Worth(float(share), float(loss))


def prices(parts: Parts, gate: Gate) -> tuple[tuple[float, float, float], ...]:
    """`(price, mean seconds, accuracy)` on families that the deciding gate was not fitted to.

    The gates of `parts` take over the `worth` of the whole.
    """
    if not parts:
        return ()
    found = []
    for price in PRICES:
        played = [
            sequential(some, replace(own, worth=gate.worth), Policy(price), arms=gate.arms)
            for own, some in parts
        ]
        seconds = float(np.concatenate([p.seconds for p in played]).mean())
        accuracy = float(np.concatenate([p.right for p in played]).mean())
        found.append((price, seconds, accuracy))
    return tuple(found)


def risk_table(outcomes: Sequence[Outcome], gate: Gate) -> RiskTable:
    """What the controller misses at each of `THRESHOLDS`, on tasks that were not fitted to.

    Of a task under several seeds the first counts: it is one draw of a task.
    """
    outcomes = list({o.task_id: o for o in reversed(outcomes)}.values())
    lacking = [arm for arm in gate.arms if any(arm not in o.arms for o in outcomes)]
    if lacking:
        raise GateError(
            f"not every task to certify on was run with {', '.join(lacking)}; a certificate is for "
            "all that the controller may run"
        )
    arms = gate.arms
    answerable = [
        o for o in outcomes if not o.arms[ICL_VOTE].right and any(o.arms[arm].right for arm in arms)
    ]
    missed = tuple(
        sum(not play(o, gate, Policy(0.0, least=least), arms).right for o in answerable)
        for least in THRESHOLDS
    )
    return RiskTable(len(answerable), THRESHOLDS, missed)
